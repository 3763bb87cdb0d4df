"""CPSC2018: 12-lead recordings of eleven Chinese hospitals, the source of the nine classes."""

from fl.datasets.base import Card
from fl.datasets.readers.challenge_records import Challenge
from fl.ecg.labels import RHYTHM_CLASSES
from fl.ecg.records import LEADS

_CITATION = (
    "Liu F, Liu C, Zhao L, et al. An open access database for evaluating the algorithms of "
    "electrocardiogram rhythm and morphology abnormality detection. J Med Imaging Health Inform "
    "2018;8:1368-1373, doi:10.1166/jmihi.2018.2442. Perez Alday EA, Gu A, Shah AJ, et al. "
    "Classification of 12-lead ECGs: the PhysioNet/Computing in Cardiology Challenge 2020. "
    "Physiol Meas 2020;41:124003, doi:10.1088/1361-6579/abc960."
)
_MAPPING = "The classes are CPSC2018's own; SNOMED CT codes as in the PhysioNet Challenge 2020."
_PATIENTS = "Not identified: each record counts as a patient of its own. No hospital is named."

CPSC2018 = Challenge(
    folder="cpsc2018",
    closed=True,
    reference="cpsc2018/REFERENCE.csv",
    card=Card(
        name="cpsc2018",
        title="China Physiological Signal Challenge 2018, training set",
        leads=LEADS,
        rates=(500.0,),
        annotates=RHYTHM_CLASSES,
        mapping=_MAPPING,
        patients=_PATIENTS,
        licence="CC BY 4.0",
        citation=_CITATION,
        url="https://physionet.org/content/challenge-2020/1.0.2/training/cpsc_2018/",
    ),
)

CPSC2018_LEAD1 = Challenge(
    folder="cpsc2018-lead1",
    closed=True,
    reference="cpsc2018/REFERENCE.csv",
    card=Card(
        name="cpsc2018-lead1",
        title="CPSC2018, lead I alone of further records, scaled to its own peak",
        leads=("I",),
        rates=(500.0,),
        annotates=RHYTHM_CLASSES,
        mapping=_MAPPING,
        patients=_PATIENTS,
        licence="CC BY 4.0 (derived from CPSC2018)",
        citation=_CITATION,
        unit="NU",
    ),
)
