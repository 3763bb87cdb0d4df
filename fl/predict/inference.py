"""A model's predictions for a recording, which is preprocessed as in training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.ecg.beat_cuts import PlainBeatMaker, given_cuts, infarction_parts, joined_examples
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
from fl.ecg.filters import Signal, zscore
from fl.ecg.labels import UNKNOWN
from fl.ecg.qrs_detection import detect_beats, usual_detector
from fl.ecg.records import Examples, Record
from fl.ecg.rhythm.features import feature_rows
from fl.ecg.rhythm.windows import WINDOW_SECONDS, filter_recording, lead_indices, normalised_window
from fl.ecg.tasks import BEAT_PLAIN
from fl.evaluation.decisions.decision_rule import answer
from fl.predict.answerable import as_far_as_answerable, cuts_as_far_as_answerable
from fl.predict.prediction import CUT_OUT, RecordingPrediction, SegmentPrediction
from fl.predict.saved_model import SavedModel
from fl.training.loop import predict
from fl.util.errors import UnusableRecord

WHOLE_SECONDS = 150.0  # a longer recording is cut; the longest single example in training has 144 s
WITHOUT_NEIGHBOUR = "the first or last beat has no neighbour on one side, which its picture needs"


def predict_recording(
    model: SavedModel, record: Record, name: str, *, source: str, windows: bool, detector: str
) -> RecordingPrediction:
    """The model's predictions for a recording; `UnusableRecord` if it cannot be applied to it.

    Rhythm and infarction: one prediction for the recording, or one per 10 s window if it is longer
    than WHOLE_SECONDS or `windows` is set. Beat: one for each beat that is annotated, or that
    `detector` finds; of whole beats the first and the last have no neighbour, and no answer.
    `source` names the calibration and the thresholds; ConfigError if the model
    has none for it.
    """
    model.require_source(source)
    return predict_prepared(model, record, name, prepare(model, record, windows, detector), source)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a model reads of a recording: its examples, and where each lies."""

    beats: str  # how the beats were found; "" for rhythm
    peaks: NDArray[np.int64] | None  # (example,) R peaks, in samples; None for rhythm
    without_example: tuple[int, ...]  # R peaks of beats that have none: see `beat_examples`
    ranges: list[tuple[int, int]]  # of each example: first sample and one past the last
    cohort: Cohort
    cannot_say: tuple[str, ...] = ()  # (example,) why one has no answer; of single beats alone


def prepare(
    model: SavedModel,
    record: Record,
    windows: bool,
    detector: str,
    starts: Sequence[float] | None = None,
    filtered: Signal | None = None,
) -> Prepared:
    """The examples of a recording: see `predict_recording`.

    `starts` (s), for rhythm, are those of the 10 s windows to read instead, and `filtered` the
    signal as `filter_recording` gives it, if it is known already.
    """
    require_recording_or_cuts(model, record)
    if record.cut_beats is not None:
        return _prepared_cuts(model, record)
    without_example: tuple[int, ...] = ()
    if model.task.exclusive:
        beats, peaks, examples = beat_examples(model, record, detector)
        ranges = _beat_ranges(model, peaks, record)
        if model.task.whole_beats:
            without_example, peaks = (int(peaks[0]), int(peaks[-1])), peaks[1:-1]
    else:
        beats, peaks = "", None
        examples, ranges = recording_examples(model, record, windows, starts, filtered)
    return Prepared(
        beats=beats,
        peaks=peaks,
        without_example=without_example,
        ranges=ranges,
        cohort=Cohort.of(model.task, [shard_in_memory(model.task, record, examples)]),
    )


def require_recording_or_cuts(model: SavedModel, record: Record) -> None:
    """`UnusableRecord` for single beats, unless the model's task is about beats by themselves."""
    if record.cut_beats is None or isinstance(model.task.make_examples, PlainBeatMaker):
        return
    reads = "compares a beat with those beside it" if model.task.exclusive else "reads several"
    raise UnusableRecord(
        record.name,
        "single-beat",
        f"the {model.task.name} task {reads}: give the recording around them. A model of the task "
        f"{BEAT_PLAIN.name} answers single beats: heartfed simulate --task {BEAT_PLAIN.name}",
    )


def _prepared_cuts(model: SavedModel, record: Record) -> Prepared:
    """Beats that came cut out, one example each."""
    beats = record.cut_beats
    assert beats is not None
    cuts, cannot_say = given_cuts(record)
    starts = beats.starts.tolist()
    examples = Examples(
        names=[f"{record.name}/{start:06d}" for start in starts],
        signals=list(cuts[:, None]),
        leads=(0,),
        labels=np.full((len(starts), len(model.task.classes)), UNKNOWN, dtype=np.int8),
        features=np.zeros((len(starts), 0), dtype=np.float32),
    )
    return Prepared(
        beats=CUT_OUT,
        peaks=beats.starts,
        without_example=(),
        ranges=list(zip(starts, beats.ends.tolist(), strict=True)),
        cohort=Cohort.of(model.task, [shard_in_memory(model.task, record, examples)]),
        cannot_say=cannot_say,
    )


def predict_prepared(
    model: SavedModel, record: Record, name: str, prepared: Prepared, source: str
) -> RecordingPrediction:
    """The model's predictions for the examples of a recording that is called `name`."""
    p = predict(model.network, prepared.cohort)
    p, predicted = answer(model.rule, p, [source] * len(p), model.task.classes)
    prediction = as_prediction(model, record, name, prepared, p, predicted)
    if record.cut_beats is not None:
        return cuts_as_far_as_answerable(prediction, record.cut_beats, prepared.cannot_say)
    return as_far_as_answerable(prediction, record, model.task.exclusive)


def as_prediction(
    model: SavedModel,
    record: Record,
    name: str,
    prepared: Prepared,
    p: NDArray[np.float64],
    predicted: NDArray[np.bool_],
) -> RecordingPrediction:
    """The answers to a recording's examples, (example, class) each, whatever its signal allows."""
    findings = _segment_predictions(model, p, predicted, prepared.ranges, prepared.peaks)
    if prepared.without_example:
        first, last = (_without_neighbour(model, peak) for peak in prepared.without_example)
        findings = [first, *findings, last]
    return RecordingPrediction(
        record=name,
        fs=record.fs,
        leads=record.leads,
        beats=prepared.beats,
        findings=tuple(findings),
    )


def recording_examples(
    model: SavedModel,
    record: Record,
    windows: bool,
    chosen: Sequence[float] | None = None,
    filtered: Signal | None = None,
) -> tuple[Examples, list[tuple[int, int]]]:
    """The examples of a recording, itself or its 10 s windows, and the sample range of each.

    `chosen` (s) are the starts of the windows, instead of one every 10 s. Where beats are cut out
    of lead II, a window without any is left out. For `filtered` see `prepare`.
    """
    length, classes = record.signal.shape[1], len(model.task.classes)
    seconds = length / record.fs
    starts = np.arange(0, seconds - WINDOW_SECONDS + 1e-9, WINDOW_SECONDS).tolist()
    cut = bool(windows and starts) or seconds > WHOLE_SECONDS
    if chosen is not None:
        starts, cut = list(chosen), True
    parts = [(start, start + WINDOW_SECONDS) for start in starts] if cut else [(0.0, seconds)]
    ranges = [(round(begin * record.fs), round(end * record.fs)) for begin, end in parts]
    if model.task.stride > 1:
        found = infarction_parts(record, parts)
        ranges = [samples for samples, one in zip(ranges, found, strict=True) if one is not None]
        return joined_examples([one for one in found if one is not None]), ranges
    signal = (
        filter_recording(record, model.task.filter == "wavelet") if filtered is None else filtered
    )
    signals = [normalised_window(signal, start) for start in starts] if cut else [zscore(signal)]
    names = [f"{record.name}/{start:04g}s" for start in starts] if cut else [record.name]
    examples = Examples(
        names=names,
        signals=signals,
        leads=lead_indices(record),
        labels=np.full((len(names), classes), UNKNOWN, dtype=np.int8),
        features=feature_rows(record, parts, model.task.feature_groups),
    )
    return examples, ranges


def beat_examples(
    model: SavedModel, record: Record, detector: str
) -> tuple[str, NDArray[np.int64], Examples]:
    """How the beats were found, their R peaks (beat,) in samples, and their examples.

    A task of whole beats has no example of the first and the last.
    """
    example_maker = model.task.make_examples
    assert isinstance(example_maker, BeatExampleMaker | PlainBeatMaker | WholeBeatMaker)
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
        found_by = detector or usual_detector(record.signal.shape[1] / record.fs)
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


def _without_neighbour(model: SavedModel, peak: int) -> SegmentPrediction:
    """The answer to the first or the last beat of a recording, which has no whole extent."""
    return SegmentPrediction(
        start=peak,
        end=peak + 1,
        peak=peak,
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
    predicted: NDArray[np.bool_],
    ranges: list[tuple[int, int]],
    peaks: NDArray[Any] | None,
) -> list[SegmentPrediction]:
    classes = model.task.classes
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
