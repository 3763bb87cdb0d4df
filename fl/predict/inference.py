"""What a model says of a recording, prepared by the same steps as in training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.data.example_cache import shard_in_memory
from fl.ecg.beat_examples import BeatCutter
from fl.ecg.beat_segments import (
    BEAT_AFTER,
    BEAT_BEFORE,
    BEAT_FS,
    annotated_beats,
    reject_paced,
    require_lead_two,
)
from fl.ecg.filters import zscore
from fl.ecg.labels import UNKNOWN
from fl.ecg.qrs_detection import detect_beats
from fl.ecg.records import Examples, Record
from fl.ecg.rhythm_windows import WINDOW_SECONDS, filter_recording, lead_indices, normalised_window
from fl.evaluation.thresholds import Thresholds, decide
from fl.predict.saved_model import SavedModel
from fl.training.loop import predict

WHOLE_SECONDS = 150.0  # as in training, where the longest recording that is one example has 144 s
DETECTOR = "xqrs"


@dataclass(frozen=True, kw_only=True)
class SegmentPrediction:
    """What the model says of one stretch of a recording."""

    start: int  # first sample, at the recording's own rate
    end: int  # one past the last
    peak: int | None  # of the beat
    p: dict[str, float]
    predicted: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RecordingPrediction:
    """One recording and everything the model says of it."""

    record: str
    fs: float
    leads: tuple[str, ...]
    beats: str  # how beats were found: "annotations" or a detector; "" for rhythm
    findings: tuple[SegmentPrediction, ...]


def predict_recording(
    model: SavedModel, record: Record, name: str, *, source: str, windows: bool, detector: str
) -> RecordingPrediction:
    """The model's findings on a recording; `Unusable` if it cannot be applied to it.

    Rhythm: the recording as one, or 10 s windows if it is long or `windows` asks for them. Beat:
    each beat that is annotated, or that `detector` finds.
    """
    thresholds = model.thresholds_of(source)
    if model.task.exclusive:
        beats, peaks, examples = beat_examples(model, record, detector)
        ranges = [_around(peak, record) for peak in peaks.tolist()]
    else:
        beats, peaks = "", None
        examples, ranges = rhythm_examples(record, windows)
    cohort = Cohort.of(model.task, [shard_in_memory(model.task, record, examples)])
    p = predict(model.network, cohort)
    return RecordingPrediction(
        record=name,
        fs=record.fs,
        leads=record.leads,
        beats=beats,
        findings=tuple(_segment_predictions(model, p, thresholds, ranges, peaks)),
    )


def rhythm_examples(record: Record, windows: bool) -> tuple[Examples, list[tuple[int, int]]]:
    """A recording, or its 10 s windows, and the samples that each covers."""
    signal, length = filter_recording(record), record.signal.shape[1]
    seconds = length / record.fs
    starts = np.arange(0, seconds - WINDOW_SECONDS + 1e-9, WINDOW_SECONDS).tolist()
    if (windows and starts) or seconds > WHOLE_SECONDS:
        signals = [normalised_window(signal, start) for start in starts]
        names = [f"{record.name}/{start:04.0f}s" for start in starts]
        ranges = [
            (round(start * record.fs), round((start + WINDOW_SECONDS) * record.fs))
            for start in starts
        ]
    else:
        names, signals, ranges = [record.name], [zscore(signal)], [(0, length)]
    examples = Examples(
        names=names,
        signals=signals,
        leads=lead_indices(record),
        labels=np.full((len(names), 9), UNKNOWN, dtype=np.int8),
        features=np.zeros((len(names), 0), dtype=np.float32),
    )
    return examples, ranges


def beat_examples(
    model: SavedModel, record: Record, detector: str
) -> tuple[str, NDArray[np.int64], Examples]:
    """How the beats were found, their R peaks and their examples."""
    require_lead_two(record)
    assert isinstance(model.task.cut, BeatCutter)
    detector = detector or model.task.cut.detector
    if record.annotations is not None:
        reject_paced(record.name, record.annotations)
    if record.annotations is not None and not detector:
        found, (peaks, _) = "annotations", annotated_beats(record.annotations)
    else:
        found = detector or DETECTOR
        peaks = detect_beats(found, record.signal[record.leads.index("II")], record.fs)
    labels = np.full((len(peaks), len(model.task.classes)), UNKNOWN, dtype=np.int8)
    return found, peaks, model.task.cut.at(record, peaks, labels)


def _around(peak: int, record: Record) -> tuple[int, int]:
    """The samples that the model sees of a beat."""
    before, after = (round(n * record.fs / BEAT_FS) for n in (BEAT_BEFORE, BEAT_AFTER))
    return max(0, peak - before), min(record.signal.shape[1], peak + after)


def _segment_predictions(
    model: SavedModel,
    p: NDArray[np.float64],
    thresholds: Thresholds | None,
    ranges: list[tuple[int, int]],
    peaks: NDArray[Any] | None,
) -> list[SegmentPrediction]:
    classes = model.task.classes
    table = None if thresholds is None else {"pooled": thresholds}
    predicted = decide(p, [""] * len(p), table, classes)
    return [
        SegmentPrediction(
            start=start,
            end=end,
            peak=None if peaks is None else int(peaks[i]),
            p=dict(zip(classes, p[i].tolist(), strict=True)),
            predicted=tuple(c for c, there in zip(classes, predicted[i], strict=True) if there),
        )
        for i, (start, end) in enumerate(ranges)
    ]
