"""What a recording allows to be answered: nothing, or not every class. Asked before the model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fl.ecg.acceptability import (
    SENTENCES,
    Acceptability,
    assess,
    assess_as_sampled,
    evident_rate,
    with_evident_rate,
)
from fl.ecg.labels import AAMI
from fl.ecg.records import CutBeats, Record
from fl.ecg.rhythm.windows import WINDOW_SECONDS
from fl.predict.holter_summary import HolterSummary, summarise
from fl.predict.prediction import RecordingPrediction, SegmentPrediction
from fl.util.errors import REASONS, UnusableRecord

LONGEST = 150.0  # s of a long recording that are searched for another sampling rate
# Verdicts on a file that was read, and from which nothing can be answered.
NOT_ANSWERED = {"no-signal": SENTENCES["no-signal"], "single-beat": REASONS["single-beat"]}
ST_CLASSES = ("STD", "STE")  # deviations of the ST segment, which other leads than I show


def as_far_as_answerable(
    prediction: RecordingPrediction,
    record: Record,
    beats: bool,
    whole: Acceptability | None = None,
) -> RecordingPrediction:
    """The prediction without answers for parts and classes that the signal does not allow.

    Of beats, with the summary of what is left. `whole` is the verdict on a recording whose only
    finding is about all of it, if it is known already.
    """
    ranges = [(f.start, f.end) for f in prediction.findings]
    parts = acceptability_by_part(record) if beats else {}
    if whole is not None:
        verdicts: tuple[Acceptability, ...] = (whole,)
    else:
        verdicts = of_beats(parts, ranges) if beats else acceptability_of(record, ranges)
    asked = prediction.findings[0].p if prediction.findings else ()
    classes = tuple(c for c in unanswerable_classes(record.leads) if c in asked)
    findings = tuple(
        _without(finding, verdict, classes)
        for finding, verdict in zip(prediction.findings, verdicts, strict=True)
    )
    refused = [finding.cannot_say for finding in findings]
    return replace(
        prediction,
        findings=findings,
        cannot_say=refused[0] if all(refused) and refused else "",
        not_answered=classes,
        summary=_summary(findings, parts, record) if beats else None,
    )


def cuts_as_far_as_answerable(
    prediction: RecordingPrediction, beats: CutBeats, cannot_say: Sequence[str]
) -> RecordingPrediction:
    """Answers to single beats, with their lines, and without those that are refused by a reason.

    `cannot_say` (beat,) are the reasons, "" for a beat that is answered. Whether beats follow each
    other, and how fast, is not known: there is no summary.
    """
    findings = []
    for place, (finding, sentence) in enumerate(zip(prediction.findings, cannot_say, strict=True)):
        found = replace(finding, line=beats.lines[place] if beats.lines else None)
        if sentence:
            none = dict.fromkeys(found.p)
            found = replace(found, p=none, predicted=(), cannot_say=sentence)
        findings.append(found)
    return replace(
        prediction,
        findings=tuple(findings),
        cannot_say=cannot_say[0] if cannot_say and all(cannot_say) else "",
    )


def _summary(
    findings: Sequence[SegmentPrediction],
    parts: Mapping[tuple[int, int], Acceptability],
    record: Record,
) -> HolterSummary:
    """The beats of a recording by the hour."""
    return summarise(
        np.array([finding.peak for finding in findings], dtype=np.int64),
        # EC57's classes: A counts as S, and E as V. The beat tasks' own are among them.
        [AAMI.get(c, c) for c in ("".join(finding.predicted) for finding in findings)],
        np.array([not finding.cannot_say for finding in findings], dtype=bool),
        [part for part, verdict in parts.items() if verdict.reason],
        record.signal.shape[1],
        record.fs,
    )


def _without(
    finding: SegmentPrediction, verdict: Acceptability, classes: tuple[str, ...]
) -> SegmentPrediction:
    """One finding without what cannot be answered."""
    sentence = verdict.sentence or finding.cannot_say
    removed = set(finding.p) if sentence else set(classes)
    return replace(
        finding,
        p={c: None if c in removed else p for c, p in finding.p.items()},
        predicted=tuple(c for c in finding.predicted if c not in removed),
        cannot_say=sentence,
        lead_quality=verdict.leads,
    )


def without_signal(name: str, error: Exception) -> RecordingPrediction | None:
    """The answer "cannot say" to a recording without a usable lead, and to a single heartbeat.

    None for any other error: a recording that cannot be read is a mistake, not an answer.
    """
    if not isinstance(error, UnusableRecord) or error.reason not in NOT_ANSWERED:
        return None
    sentence = f"{NOT_ANSWERED[error.reason]} ({error.detail})"
    return RecordingPrediction(
        record=name, fs=0.0, leads=(), beats="", findings=(), cannot_say=sentence
    )


def acceptability_of(
    record: Record, ranges: Sequence[tuple[int, int]]
) -> tuple[Acceptability, ...]:
    """Whether each part of a recording, from its first sample to one past its last, can be read.

    Another sampling rate is looked for in the whole recording, as 10 s may be too short for it.
    """
    if len(ranges) == 1 and ranges[0] == (0, record.signal.shape[1]):
        return (assess(record.signal, record.leads, record.fs),)
    verdicts = [
        assess_as_sampled(record.signal[:, start:end], record.leads, record.fs)
        for start, end in ranges
    ]
    if not any(verdict.reason for verdict in verdicts):
        return tuple(verdicts)
    true_fs = evident_rate(record.signal[:, : int(LONGEST * record.fs)], record.fs)
    return tuple(with_evident_rate(verdict, true_fs) for verdict in verdicts)


def acceptability_by_part(record: Record) -> dict[tuple[int, int], Acceptability]:
    """Whether each 10 s of a recording can be read, by its first sample and one past its last.

    The parts are in order of time; the last may have up to 20 s.
    """
    length, size = record.signal.shape[1], round(WINDOW_SECONDS * record.fs)
    starts = list(range(0, max(length - size, 0) + 1, size))
    parts = list(zip(starts, [*starts[1:], length], strict=True))
    return dict(zip(parts, acceptability_of(record, parts), strict=True))


def of_beats(
    parts: Mapping[tuple[int, int], Acceptability], ranges: Sequence[tuple[int, int]]
) -> tuple[Acceptability, ...]:
    """The verdict on the part in which the middle of each beat's range lies."""
    # The quality of the leads is that of thousands of beats: it is left out.
    verdicts = [replace(verdict, leads=()) for verdict in parts.values()]
    starts = np.array([start for start, _ in parts])
    middles = np.array([(start + end) // 2 for start, end in ranges], dtype=np.int64)
    places = np.searchsorted(starts, middles, side="right") - 1
    return tuple(verdicts[place] for place in places.tolist())


def unanswerable_classes(leads: Sequence[str]) -> tuple[str, ...]:
    """Classes that these leads cannot show, whatever a model predicts: STD and STE in lead I alone.

    The ST segment deviates in the leads that face the ischaemic wall, by convention in at least
    two neighbouring ones (Thygesen et al. 2018, 10.1016/j.jacc.2018.08.1038).
    """
    return ST_CLASSES if tuple(leads) == ("I",) else ()
