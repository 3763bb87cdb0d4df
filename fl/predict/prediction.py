"""What is answered about a recording, and what is not."""

from dataclasses import dataclass

from fl.ecg.acceptability import LeadQuality
from fl.predict.holter_summary import HolterSummary

CUT_OUT = "cut out"  # `RecordingPrediction.beats` of single beats, which nobody had to find


@dataclass(frozen=True, kw_only=True)
class SegmentPrediction:
    """The model's prediction for a recording, a 10 s window of it or one of its beats."""

    start: int  # first sample, at the recording's own rate
    end: int  # one past the last sample
    peak: int | None  # sample of the R peak; None for rhythm
    p: dict[str, float | None]  # probability of each class; None where it is not answered
    predicted: tuple[str, ...]  # the classes that are predicted
    cannot_say: str = ""  # why there is no answer; "" if there is one
    lead_quality: tuple[LeadQuality, ...] = ()
    line: int | None = None  # of the table, which holds this single beat; None for all else


@dataclass(frozen=True, kw_only=True)
class RecordingPrediction:
    """All predictions for one recording."""

    record: str  # its name, as it was given
    fs: float  # Hz
    leads: tuple[str, ...]
    beats: str  # how the beats were found: "annotations", a detector, CUT_OUT; "" for rhythm
    findings: tuple[SegmentPrediction, ...]
    cannot_say: str = ""  # why no part of it is answered; "" if a part is
    not_answered: tuple[str, ...] = ()  # classes that its leads cannot show
    summary: HolterSummary | None = None  # by the hour; None for rhythm
