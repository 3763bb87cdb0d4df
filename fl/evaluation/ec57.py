"""Heartbeats by ANSI/AAMI EC57: sensitivity, +P and F1 of each class, gross and by record.

The gross figures pool all beats, so records with many beats weigh most; in the mean over records
all weigh alike. Intervals draw records, because the beats of one record are not independent.

A confusion matrix is (class, class) where every annotated beat has an answer. Of beats that a
detector found it is (class + 1, class + 1): the last column, EC57's `o`, has the annotated beats
that were missed and the last row, `O`, the detections that are no beat. All measures count them.

The rules of the comparison are those that `bxb` of the WFDB software implements, EC57's reference
implementation (https://physionet.org/physiotools/wag/bxb-1.htm; Goldberger et al. 2000,
10.1161/01.CIR.101.23.e215).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.labels import BEAT_CLASSES
from fl.ecg.qrs_detection import match_beats
from fl.ecg.records import Annotations
from fl.evaluation.bootstrap import MIN_INTERVAL_PATIENTS
from fl.util.random_streams import stream

Indices = NDArray[np.int64]
Counts = NDArray[np.int64]  # ([record,] true class, predicted class)

MACRO = ("N", "S", "V")  # F and Q cannot be learnt between patients and are only reported
LEARNING_SECONDS = 300.0  # EC57 does not test the first five minutes, and bxb skips them
# An F or Q beat that is called V, and a Q beat that is called S, are not false positives in EC57:
# a fusion beat is ventricular in part, and of a Q beat nobody knows what it is.
EXCUSED = {"S": ("Q",), "V": ("F", "Q")}


@dataclass(frozen=True, kw_only=True)
class BeatComparison:
    """A record's annotated and detected beats, compared one by one."""

    counts: Counts  # (class + 1, class + 1): true and predicted; last: false and missed
    beats_left_out: int  # annotated beats in parts that are not compared
    detections_left_out: int  # detections there


def compare_beats(
    annotated: Indices,
    truth: Indices,
    detected: Indices,
    predicted: Indices,
    fs: float,
    *,
    skip_seconds: float = 0.0,
    fibrillation: Sequence[tuple[int, int]] = (),
) -> BeatComparison:
    """Compare one record's annotated beats with those that a detector found, beat by beat.

    `annotated` and `detected` are R peaks (beat,) in samples, in order of time, and `truth` and
    `predicted` their classes as indices into BEAT_CLASSES. A pair is at most 150 ms apart. What
    lies before `skip_seconds` is not compared (LEARNING_SECONDS is EC57's own); a pair lies where
    its annotated beat does. Neither is what lies within `fibrillation`, as of `fibrillation_of`.
    Raises ValueError where peaks and classes differ in number.

    bxb pairs from the first beat to the last and this function the nearest pairs first. The two
    can differ where three marks are within 150 ms of each other, and nowhere else.
    """
    if len(annotated) != len(truth) or len(detected) != len(predicted):
        raise ValueError(
            f"{len(annotated)} annotated peaks have {len(truth)} classes and {len(detected)} "
            f"detected peaks {len(predicted)}; each peak needs one."
        )
    beat, detection = match_beats(annotated, detected, fs)
    place = detected.copy()
    place[detection] = annotated[beat]
    start = skip_seconds * fs
    beats_in = _compared(annotated, start, fibrillation)
    detections_in = _compared(place, start, fibrillation)

    other = len(BEAT_CLASSES)
    answer = np.full(len(annotated), other)
    answer[beat] = predicted[detection]
    false = detections_in.copy()
    false[detection] = False
    true = np.concatenate([truth[beats_in], np.full(false.sum(), other)])
    called = np.concatenate([answer[beats_in], predicted[false]])
    flat = np.bincount(true * (other + 1) + called, minlength=(other + 1) ** 2)
    return BeatComparison(
        counts=flat.reshape(other + 1, other + 1),
        beats_left_out=int((~beats_in).sum()),
        detections_left_out=int((~detections_in).sum()),
    )


def _compared(
    peaks: Indices, start: float, fibrillation: Sequence[tuple[int, int]]
) -> NDArray[np.bool_]:
    """Which peaks are in the part that is compared: (beat,)."""
    inside = peaks >= start
    for first, last in fibrillation:
        inside &= (peaks < first) | (peaks > last)
    return inside


def fibrillation_of(notes: Annotations) -> list[tuple[int, int]]:
    """The first and last sample of each stretch of ventricular flutter or fibrillation (`[`, `]`).

    No beats are annotated there, so a detection there is neither right nor wrong. A stretch
    without an end lasts to the last annotation.
    """
    stretches, first = [], None
    for sample, symbol in zip(notes.samples.tolist(), notes.symbols, strict=True):
        if symbol == "[" and first is None:
            first = sample
        elif symbol == "]" and first is not None:
            stretches.append((first, sample))
            first = None
    if first is not None:
        stretches.append((first, int(notes.samples[-1])))
    return stretches


def confusion(truth: Indices, predicted: Indices, record: Indices, records: int) -> Counts:
    """Count beats by record, true class and predicted class: (record, class, class)."""
    n = len(BEAT_CLASSES)
    flat = (record * n + truth) * n + predicted
    return np.bincount(flat, minlength=records * n * n).reshape(records, n, n)


def detection(counts: Counts) -> dict[str, float | None]:
    """Sensitivity and +P of the detection of beats, whatever their class: EC57's QRS Se and +P.

    `counts` is (class + 1, class + 1).
    """
    found = counts[:-1, :-1].sum()
    return {"se": _ratio(found, counts[:-1].sum()), "ppv": _ratio(found, counts[:, :-1].sum())}


def table(counts: NDArray[np.float64] | Counts, *, excuse: bool = False) -> dict[str, Any]:
    """Se, +P and F1 of each class, accuracy and macro-F1 (N, S, V) of one confusion matrix.

    The matrix is (class, class), or (class + 1, class + 1) of `compare_beats`; accuracy is then
    of all annotated beats and false detections. None where a class has no beat (Se), is never
    predicted (+P), or has neither (F1). `excuse` leaves the pairs of EXCUSED out of the false
    positives, as EC57 and bxb do; by default every beat of another class is one.
    """
    right, true, predicted = np.diagonal(counts), counts.sum(axis=1), _predicted(counts, excuse)
    classes = {
        name: {
            "beats": float(true[i]),
            "se": _ratio(right[i], true[i]),
            "ppv": _ratio(right[i], predicted[i]),
            "f1": _ratio(2 * right[i], true[i] + predicted[i]),
        }
        for i, name in enumerate(BEAT_CLASSES)
    }
    f1s = [classes[name]["f1"] for name in MACRO]
    known = [f1 for f1 in f1s if f1 is not None]
    return {
        "accuracy": _ratio(right.sum(), counts.sum()),
        "macro_f1": float(np.mean(known)) if known else None,
        "classes": classes,
    }


def _predicted(counts: NDArray[np.float64] | Counts, excuse: bool) -> NDArray[Any]:
    """How many beats are predicted to be of each class: (..., class)."""
    predicted: NDArray[Any] = counts.sum(axis=-2)
    for name, others in EXCUSED.items() if excuse else ():
        called = BEAT_CLASSES.index(name)
        for other in others:
            predicted[..., called] -= counts[..., BEAT_CLASSES.index(other), called]
    return predicted


def by_record(counts: Counts, *, excuse: bool = False) -> dict[str, Any]:
    """Mean over records of accuracy and of each class's measures, of the records that have them."""
    tables = [table(record, excuse=excuse) for record in counts]
    mean: dict[str, Any] = {"accuracy": _mean([t["accuracy"] for t in tables]), "classes": {}}
    for name in BEAT_CLASSES:
        mean["classes"][name] = {
            measure: _mean([t["classes"][name][measure] for t in tables])
            for measure in ("se", "ppv", "f1")
        }
    return mean


def intervals(
    counts: Sequence[Counts], seed: int, draws: int = 2000, *, excuse: bool = False
) -> dict[str, Any]:
    """The middle 95% over draws of records, of figures averaged over trainings (seeds).

    `counts`: one (record, class, class), or with one class more as of `compare_beats`, for each
    training, of the same records; of fewer than MIN_INTERVAL_PATIENTS records there is no
    interval. `excuse` as in `table`.
    """
    runs = np.stack(counts).astype(np.float64)
    records = runs.shape[1]
    draws = draws if records >= MIN_INTERVAL_PATIENTS else 0
    rng = stream(seed, "bootstrap", "records", records)
    picks = rng.integers(0, records, size=(draws, records))
    weights = np.array([np.bincount(row, minlength=records) for row in picks])
    weights = weights.reshape(draws, records)
    drawn = np.einsum("dr,srij->sdij", weights, runs)
    right = np.diagonal(drawn, axis1=2, axis2=3)
    true, predicted = drawn.sum(axis=3), _predicted(drawn, excuse)
    with np.errstate(invalid="ignore", divide="ignore"):
        measures = {
            "se": right / true,
            "ppv": right / predicted,
            "f1": 2 * right / (true + predicted),
        }
        accuracy = right.sum(axis=2) / true.sum(axis=2)
    place = [BEAT_CLASSES.index(name) for name in MACRO]
    macro = measures["f1"][:, :, place].mean(axis=2)
    return {
        "accuracy": _middle(accuracy.mean(axis=0)),
        "macro_f1": _middle(macro.mean(axis=0)),
        "classes": {
            name: {m: _middle(values[:, :, i].mean(axis=0)) for m, values in measures.items()}
            for i, name in enumerate(BEAT_CLASSES)
        },
    }


def _middle(values: NDArray[np.float64]) -> tuple[float, float] | None:
    known = values[np.isfinite(values)]
    if len(known) < 20:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
