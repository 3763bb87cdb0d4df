"""St Petersburg INCART Arrhythmia Database: 12-lead Holter recordings with every beat annotated."""

import re
from collections.abc import Sequence

from fl.datasets.base import Card
from fl.datasets.readers.beat_records import BeatRecords, Person, stated_patient
from fl.datasets.readers.challenge_records import age_years, sex_letter
from fl.ecg.records import LEADS

_AGE_AND_SEX = re.compile(r"<age>:\s*(\S+)\s+<sex>:\s*(\S+)")


def person(name: str, comments: Sequence[str]) -> Person:
    """The person of a record, from the comments of its header.

    They are `<age>: 65 <sex>: F <diagnoses> ...`, `patient 1` and a line of findings.
    """
    found = next((m for text in comments if (m := _AGE_AND_SEX.search(text))), None)
    age, sex = found.groups() if found else ("", "")
    return Person(patient=stated_patient(comments), age=age_years(age), sex=sex_letter(sex))


INCART = BeatRecords(
    folders=("incart", "incartdb"),
    person=person,
    names_patients=True,
    card=Card(
        name="incart",
        title="St Petersburg INCART 12-lead Arrhythmia Database 1.0.0",
        leads=LEADS,
        rates=(257.0,),
        annotates=(),
        mapping=(
            "Beat annotations, made by a program and corrected by hand; beat classes as in "
            "ANSI/AAMI EC57. A rhythm is marked in few records, so the rhythm task cannot use it "
            "(the source incart-challenge has diagnoses of the same recordings)."
        ),
        patients=(
            "Identified by the header's comment `patient 7`: 32 patients have the 75 records. A "
            "record whose header names none, or two, counts as a patient of its own; `check` "
            "names such records."
        ),
        licence="ODC-By 1.0",
        citation=(
            "Tihonenko V, Khaustov A, Ivanov S, Rivin A, Yakushenko E. St Petersburg INCART "
            "12-lead Arrhythmia Database. PhysioNet 2008, doi:10.13026/C2V88N. Goldberger AL, et "
            "al. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 2000;101(23):e215-e220."
        ),
        url="https://physionet.org/content/incartdb/1.0.0/",
        lead_two="II",
        signal="Lead II by its own name. The gain differs between records and is read from each "
        "header.",
    ),
)
