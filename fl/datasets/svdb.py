"""MIT-BIH Supraventricular Arrhythmia Database: half-hour recordings with every beat annotated."""

from collections.abc import Sequence

from fl.datasets.base import Card
from fl.datasets.readers.beat_records import BeatRecords, Person


def person(name: str, comments: Sequence[str]) -> Person:
    """Nothing: the headers say nothing about the person."""
    return Person()


SVDB = BeatRecords(
    folders=("svdb",),
    person=person,
    names_patients=False,
    card=Card(
        name="svdb",
        title="MIT-BIH Supraventricular Arrhythmia Database 1.0.0",
        leads=("II",),
        rates=(128.0,),
        annotates=(),
        mapping=(
            "Beat annotations; beat classes as in ANSI/AAMI EC57. Rhythms are not annotated, so "
            "the rhythm task cannot use it."
        ),
        patients="Not identified: each of the 78 records counts as a patient of its own.",
        licence="ODC-By 1.0",
        citation=(
            "Greenwald SD. Improved detection and classification of arrhythmias in "
            "noise-corrupted electrocardiograms using contextual information. PhD thesis, "
            "Harvard-MIT Division of Health Sciences and Technology, 1990. "
            "doi:10.13026/C2V30W. Goldberger AL, et al. PhysioBank, PhysioToolkit, and PhysioNet. "
            "Circulation 2000;101(23):e215-e220."
        ),
        url="https://physionet.org/content/svdb/1.0.0/",
        lead_two="ECG1",
        signal=(
            "ECG1 stands for lead II. This is an assumption, as the database does not name its "
            "two leads; ECG2 is not read. Amplitudes are nominal: a header with a gain of 0 "
            "states none, and WFDB's default of 200 units per mV is then taken."
        ),
    ),
)
