"""A model's predictions for a recording, which is preprocessed as in training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.beat_pictures import WholeBeatMaker, beat_bounds, lead_of
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
from fl.evaluation.decisions.decision_rule import answer
from fl.predict.answerable import as_far_as_answerable
from fl.predict.prediction import RecordingPrediction, SegmentPrediction
from fl.predict.saved_model import SavedModel
from fl.training.loop import predict

WHOLE_SECONDS = 150.0  # a longer recording is cut; the longest single example in training has 144 s
DEFAULT_DETECTOR = "xqrs"
WITHOUT_NEIGHBOUR = "the first or last beat has no neighbour on one side, which its picture needs"


def predict_recording(
    model: SavedModel, record: Record, name: str, *, source: str, windows: bool, detector: str
) -> RecordingPrediction:
    """The model's predictions for a recording; `UnusableRecord` if it cannot be applied to it.

    Rhythm: one prediction for the recording, or one per 10 s window if it is longer than
    WHOLE_SECONDS or `windows` is set. Beat: one for each beat that is annotated, or that
    `detector` finds; of whole beats the first and the last have no neighbour, and no answer.
    `source` names the calibration and the thresholds; ConfigError if the model
    has none for it.
    """
    model.require_source(source)
    if model.task.exclusive:
        beats, peaks, examples = beat_examples(model, record, detector)
        ranges = _beat_ranges(model, peaks, record)
    else:
        beats, peaks = "", None
        examples, ranges = rhythm_examples(record, windows)
    cohort = Cohort.of(model.task, [shard_in_memory(model.task, record, examples)])
    p = predict(model.network, cohort)
    answered = peaks if peaks is None or not model.task.whole_beats else peaks[1:-1]
    findings = _segment_predictions(model, p, source, ranges, answered)
    if peaks is not None and model.task.whole_beats:
        first, last = (_without_neighbour(model, peak) for peak in (peaks[0], peaks[-1]))
        findings = [first, *findings, last]
    prediction = RecordingPrediction(
        record=name,
        fs=record.fs,
        leads=record.leads,
        beats=beats,
        findings=tuple(findings),
    )
    return as_far_as_answerable(prediction, record, model.task.exclusive)


def rhythm_examples(record: Record, windows: bool) -> tuple[Examples, list[tuple[int, int]]]:
    """The examples of a recording, itself or its 10 s windows, and the sample range of each."""
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
    """How the beats were found, their R peaks (beat,) in samples, and their examples.

    A task of whole beats has no example of the first and the last.
    """
    example_maker = model.task.make_examples
    assert isinstance(example_maker, BeatExampleMaker | WholeBeatMaker)
    lead = "II"
    if isinstance(example_maker, WholeBeatMaker):
        lead = lead_of(record)
    else:
        require_lead_two(record)
        detector = detector or example_maker.detector
        if record.annotations is not None:
            reject_paced(record.name, record.annotations)
    if record.annotations is not None and not detector:
        found_by, (peaks, _) = "annotations", annotated_beats(record.annotations)
    else:
        found_by = detector or DEFAULT_DETECTOR
        peaks = detect_beats(found_by, record.signal[record.leads.index(lead)], record.fs)
    labels = np.full((len(peaks), len(model.task.classes)), UNKNOWN, dtype=np.int8)
    return found_by, peaks, example_maker.from_peaks(record, peaks, labels)


def _beat_ranges(
    model: SavedModel, peaks: NDArray[np.int64], record: Record
) -> list[tuple[int, int]]:
    """The first sample of each beat's example and one past the last."""
    if not model.task.whole_beats:
        return [_beat_range(peak, record) for peak in peaks.tolist()]
    bounds = np.rint(beat_bounds(record, peaks)).astype(np.int64)
    length = record.signal.shape[1]
    return [(max(0, start), min(length, end + 1)) for start, end in bounds.tolist()]


def _without_neighbour(model: SavedModel, peak: np.int64) -> SegmentPrediction:
    """The answer to the first or the last beat of a recording, which has no whole extent."""
    return SegmentPrediction(
        start=int(peak),
        end=int(peak) + 1,
        peak=int(peak),
        p=dict.fromkeys(model.task.classes),
        predicted=(),
        cannot_say=WITHOUT_NEIGHBOUR,
    )


def _beat_range(peak: int, record: Record) -> tuple[int, int]:
    """The first sample of a beat's example and one past the last."""
    before, after = (round(n * record.fs / BEAT_FS) for n in (BEAT_BEFORE, BEAT_AFTER))
    return max(0, peak - before), min(record.signal.shape[1], peak + after)


def _segment_predictions(
    model: SavedModel,
    p: NDArray[np.float64],
    source: str,
    ranges: list[tuple[int, int]],
    peaks: NDArray[Any] | None,
) -> list[SegmentPrediction]:
    classes = model.task.classes
    p, predicted = answer(model.rule, p, [source] * len(p), classes)
    return [
        SegmentPrediction(
            start=start,
            end=end,
            peak=None if peaks is None else int(peaks[i]),
            p=dict(zip(classes, p[i].tolist(), strict=True)),
            predicted=tuple(c for c, yes in zip(classes, predicted[i], strict=True) if yes),
        )
        for i, (start, end) in enumerate(ranges)
    ]
