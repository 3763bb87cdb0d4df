"""Many recordings at once: those that are alike are filtered, read and assessed in one call.

Of a recording of ten seconds, one at a time, most of the time goes to the calls. The answers are
those of `predict_prepared`, to the rounding of the network's arithmetic in another batch.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.ecg.acceptability import Acceptability, assess_several
from fl.ecg.filters import Signal
from fl.ecg.records import Record
from fl.ecg.rhythm.windows import filter_signals, require_length
from fl.evaluation.decisions.decision_rule import answer
from fl.predict.answerable import as_far_as_answerable, without_signal
from fl.predict.inference import (
    Prepared,
    as_prediction,
    predict_prepared,
    prepare,
    require_recording_or_cuts,
)
from fl.predict.prediction import RecordingPrediction
from fl.predict.saved_model import SavedModel
from fl.training.loop import predict
from fl.util.errors import ConfigError, DataError

MOST_RECORDINGS = 64  # that are read before they are answered
MOST_VALUES = 20_000_000  # lead samples of them (80 MB); beyond, they are answered before the next


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How recordings are read and answered: the flags of the command."""

    source: str  # whose calibration and thresholds
    windows: bool = False
    detector: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one recording: a prediction, or one line that says why there is none."""

    name: str  # as it was given
    prediction: RecordingPrediction | None = None
    error: str = ""
    notes: tuple[str, ...] = ()  # what the file left open, and how it was read


@dataclass(kw_only=True)
class _Item:
    """A recording, and what is known about it until it has its answer."""

    record: Record
    name: str
    prepared: Prepared | None = None
    filtered: Signal | None = None
    whole: Acceptability | None = None
    answer: Answer | None = None


def answers_to(
    model: SavedModel,
    names: Sequence[str],
    read: Callable[[str], Record],
    reading: Reading,
) -> Iterator[Answer]:
    """The answer to each recording, in the order of `names`; no recording stops the others."""
    batch: list[_Item | Answer] = []
    values = 0
    for name in names:
        try:
            record = read(name)
        except Exception as error:
            batch.append(_without_prediction(name, error))
        else:
            batch.append(_Item(name=name, record=record))
            values += record.signal.size
        if len(batch) == MOST_RECORDINGS or values > MOST_VALUES:
            yield from _answered(model, batch, reading)
            batch, values = [], 0
    yield from _answered(model, batch, reading)


def _without_prediction(name: str, error: Exception) -> Answer:
    """The answer to a recording that cannot be read or answered, whatever the error."""
    prediction = without_signal(name, error)
    if prediction is not None:
        return Answer(name=name, prediction=prediction)
    if isinstance(error, ConfigError | DataError):
        text = str(error)
        return Answer(name=name, error=text if name in text else f"{name}: {text}")
    # The text of an unexpected error could hold what the file says about a patient.
    return Answer(
        name=name,
        error=f"{name}: cannot be read ({type(error).__name__} in HeartFed). Check the file, or "
        "report its kind as a bug.",
    )


def _attempt(item: _Item, step: Callable[[_Item], None]) -> None:
    """One step for a recording that has no answer yet; an error becomes its answer."""
    if item.answer is None:
        try:
            step(item)
        except Exception as error:
            item.answer = _without_prediction(item.name, error)


def _answered(
    model: SavedModel, batch: Sequence[_Item | Answer], reading: Reading
) -> Iterator[Answer]:
    items = [item for item in batch if isinstance(item, _Item)]
    if not model.task.exclusive and model.task.stride == 1 and not reading.windows:
        for item in items:
            _attempt(item, lambda item: require_recording_or_cuts(model, item.record))
            _attempt(item, lambda item: require_length(item.record))
        for alike in _alike(items):
            _filter_and_assess(model, alike)
    for item in items:
        _attempt(item, partial(_prepare, model, reading))
    if model.task.exclusive:
        # The beats of a recording are a batch by themselves; some networks read them in a row.
        for item in items:
            _attempt(item, partial(_answer_alone, model, reading.source))
    else:
        _answer_together(model, [item for item in items if item.answer is None], reading.source)
    for entry in batch:
        if isinstance(entry, Answer):
            yield entry
        else:
            assert entry.answer is not None
            yield replace(entry.answer, notes=entry.record.notes)


def _alike(items: Sequence[_Item]) -> list[list[_Item]]:
    """Two or more recordings with the same leads, rate and length each, which fit one array."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        if item.answer is None:
            key = (item.record.leads, item.record.fs, item.record.signal.shape)
            groups.setdefault(key, []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def _filter_and_assess(model: SavedModel, alike: Sequence[_Item]) -> None:
    """The filtered signals of recordings that are alike, and the verdicts on them as a whole."""
    first = alike[0].record
    signals = np.stack([item.record.signal for item in alike])
    try:
        filtered = filter_signals(signals, first.fs, model.task.filter == "wavelet")
        verdicts = assess_several(signals, first.leads, first.fs)
    except Exception:
        return  # each is filtered and assessed by itself, and the one that cannot be is named
    for item, signal, verdict in zip(alike, filtered, verdicts, strict=True):
        item.filtered, item.whole = signal, verdict


def _prepare(model: SavedModel, reading: Reading, item: _Item) -> None:
    item.prepared = prepare(
        model, item.record, reading.windows, reading.detector, filtered=item.filtered
    )


def _answer_alone(model: SavedModel, source: str, item: _Item) -> None:
    assert item.prepared is not None
    found = predict_prepared(model, item.record, item.name, item.prepared, source)
    item.answer = Answer(name=item.name, prediction=found)


def _answer_together(model: SavedModel, items: Sequence[_Item], source: str) -> None:
    """All examples of all recordings as one cohort."""
    cohorts = [item.prepared.cohort for item in items if item.prepared is not None]
    if not cohorts:
        return
    cohort = Cohort.of(model.task, [shard for one in cohorts for shard in one.shards])
    p = predict(model.network, cohort)
    p, predicted = answer(model.rule, p, [source] * len(p), model.task.classes)
    ends = np.cumsum([len(one) for one in cohorts])
    for item, begin, end in zip(items, [0, *ends[:-1]], ends, strict=True):
        _attempt(item, partial(_finish, model, p[begin:end], predicted[begin:end]))


def _finish(
    model: SavedModel, p: NDArray[np.float64], predicted: NDArray[np.bool_], item: _Item
) -> None:
    assert item.prepared is not None
    found = as_prediction(model, item.record, item.name, item.prepared, p, predicted)
    # Of a recording that was cut into windows, each window is assessed by itself.
    uncut = item.prepared.ranges == [(0, item.record.signal.shape[1])]
    whole = item.whole if uncut else None
    found = as_far_as_answerable(found, item.record, beats=False, whole=whole)
    item.answer = Answer(name=item.name, prediction=found)
