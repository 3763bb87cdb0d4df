"""What stands below a drawn recording about its signal."""

import pytest

from fl.ecg.acceptability import Acceptability, LeadQuality
from fl.reports.figures.most_wrong import signal_quality


def lead(name, reason=""):
    return LeadQuality(lead=name, reason=reason, likeness=0.9, prominence=8.0)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            Acceptability(reason="", detail="", leads=(lead("I"), lead("II"))),
            "Heartbeats are seen in 2 of 2 leads.",
        ),
        (
            Acceptability(reason="", detail="", leads=(lead("I"), lead("V1", "flat"))),
            "Heartbeats are seen in 1 of 2 leads, not in V1 (the signal is flat).",
        ),
        (
            Acceptability(reason="tone", detail="", leads=(lead("I", "tone"),)),
            "Prediction answers this signal with “cannot say”: the signal is a pure tone.",
        ),
    ],
)
def test_a_drawn_recording_says_whether_its_signal_can_be_read(found, sentence):
    assert signal_quality(found) == sentence
