"""Heartbeats by ANSI/AAMI EC57: sensitivity, +P and F1 of each class, gross and by record.

The gross figures pool all beats, so records with many beats weigh most; in the mean over records
all weigh alike. Intervals draw records, because the beats of one record are not independent.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.labels import BEAT_CLASSES
from fl.evaluation.bootstrap import MIN_INTERVAL_PATIENTS
from fl.util.random_streams import stream

Indices = NDArray[np.int64]
Counts = NDArray[np.int64]  # (record, true class, predicted class)

MACRO = ("N", "S", "V")  # F and Q cannot be learnt between patients and are only reported


def confusion(truth: Indices, predicted: Indices, record: Indices, records: int) -> Counts:
    """Count beats by record, true class and predicted class: (record, class, class)."""
    n = len(BEAT_CLASSES)
    flat = (record * n + truth) * n + predicted
    return np.bincount(flat, minlength=records * n * n).reshape(records, n, n)


def table(counts: NDArray[np.float64] | Counts) -> dict[str, Any]:
    """Se, +P and F1 of each class, accuracy and macro-F1 (N, S, V) of one confusion matrix.

    None where a class has no beat (Se), is never predicted (+P), or has neither (F1).
    """
    right, true, predicted = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
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


def by_record(counts: Counts) -> dict[str, Any]:
    """Mean over records of accuracy and of each class's measures, of the records that have them."""
    tables = [table(record) for record in counts]
    mean: dict[str, Any] = {"accuracy": _mean([t["accuracy"] for t in tables]), "classes": {}}
    for name in BEAT_CLASSES:
        mean["classes"][name] = {
            measure: _mean([t["classes"][name][measure] for t in tables])
            for measure in ("se", "ppv", "f1")
        }
    return mean


def intervals(counts: Sequence[Counts], seed: int, draws: int = 2000) -> dict[str, Any]:
    """The middle 95% over draws of records, of figures averaged over trainings (seeds).

    `counts`: one (record, class, class) for each training, of the same records; of fewer than
    MIN_INTERVAL_PATIENTS records there is no interval.
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
    true, predicted = drawn.sum(axis=3), drawn.sum(axis=2)
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
