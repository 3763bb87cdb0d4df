"""MIT-BIH Arrhythmia Database: half-hour Holter recordings with every beat annotated."""

from collections.abc import Sequence

from fl.datasets.base import Card
from fl.datasets.readers.beat_records import BeatRecords, Person
from fl.datasets.readers.challenge_records import age_years, sex_letter

# Training and test records of the inter-patient protocol (de Chazal, O'Dwyer & Reilly 2004,
# 10.1109/TBME.2004.827359); paced records are in neither, as ANSI/AAMI EC57 requires.
# fmt: off
_DS1 = (
    101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122,
    124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230,
)
_DS2 = (
    100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210,
    212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234,
)
# fmt: on
DS1 = tuple(map(str, _DS1))
DS2 = tuple(map(str, _DS2))
PACED = ("102", "104", "107", "217")
# The paced records in the beat7 task, which keeps them: one with MLII and one without on each side.
PACED_TRAIN, PACED_TEST = ("102", "107"), ("104", "217")

# 201 and 202 are recordings of the same man, although 201 is in DS1 and 202 in DS2.
SAME_PATIENT = {"202": "201"}


def first_comment(comments: Sequence[str]) -> tuple[str, str, str]:
    """Age, sex and recorder in the comment `69 M 1085 1629 x1`; field 4 is the recorder's number.

    A field that is missing is "".
    """
    fields = [*(comments[0].split() if comments else []), "", "", "", ""]
    return fields[0], fields[1], fields[3] if fields[3].isdigit() else ""


def person(name: str, comments: Sequence[str]) -> Person:
    """The person of a record, from the first comment of its header."""
    age, sex, recorder = first_comment(comments)
    return Person(
        patient=SAME_PATIENT.get(name, name),
        group=recorder,
        age=age_years(age),
        sex=sex_letter(sex),
    )


MITDB = BeatRecords(
    folders=("mitdb",),
    person=person,
    names_patients=False,
    card=Card(
        name="mitdb",
        title="MIT-BIH Arrhythmia Database 1.0.0",
        leads=("II", "V1", "V2", "V4", "V5"),
        rates=(360.0,),
        # Beats and rhythms are annotated, ST changes and AV block are not.
        annotates=("NSR", "AF", "LBBB", "RBBB", "PAC", "PVC"),
        mapping=(
            "Beat and rhythm annotations per 10 s window: `(N` throughout with normal beats only "
            "is NSR, `(AFIB` for half the window AF, half the beats L or R a bundle branch "
            "block, any A or a PAC, any V PVC. Beat classes as in ANSI/AAMI EC57."
        ),
        patients="One record per patient, but 201 and 202 are the same man.",
        licence="ODC-By 1.0",
        citation=(
            "Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE Eng Med Biol "
            "2001;20(3):45-50, doi:10.1109/51.932724. Goldberger AL, et al. PhysioBank, "
            "PhysioToolkit, and PhysioNet. Circulation 2000;101(23):e215-e220."
        ),
        url="https://physionet.org/content/mitdb/1.0.0/",
        lead_two="MLII",
        signal="MLII (modified lead II) stands for lead II; 102 and 104 were recorded without it.",
    ),
)
