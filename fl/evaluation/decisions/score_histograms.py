"""Histograms of scores by patient, which sites can send and the server can add."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.patient_counts import count_by_patient
from fl.evaluation.metrics import Labels, Probs

# The edges are even in log-odds, so that small probabilities (rare classes) are resolved as finely
# as large ones. They are rounded like probabilities, so that both decide alike at an edge.
BIN_EDGES = np.round(1 / (1 + np.exp(-np.arange(-127, 128) / 16)), 7)
BINS = len(BIN_EDGES) + 1
BIN_LOGITS = (np.arange(BINS) - 127.5) / 16  # (BINS,) log-odds in the middle of each bin
# One patient, in the whole numbers of a histogram: they can be added in any order. It is large
# enough that the share of each of a Holter patient's many windows or beats is hardly rounded.
PATIENT = 1 << 20


@dataclass(frozen=True)
class ScoreHistograms:
    """The scores of one split of one site, as counts that can be added.

    A patient counts once for each class, however many records, windows or beats annotate it: each
    of these counts PATIENT divided by their number.
    """

    positive: NDArray[np.int64]  # (class, BINS) examples of the class, by score
    negative: NDArray[np.int64]  # (class, BINS) annotated examples not of it, by score
    patients: NDArray[np.int64]  # (class, 2) patients that show the class; that annotate it

    def __add__(self, other: "ScoreHistograms") -> "ScoreHistograms":
        return ScoreHistograms(
            self.positive + other.positive,
            self.negative + other.negative,
            self.patients + other.patients,
        )

    def take(self, columns: Sequence[int]) -> "ScoreHistograms":
        """Only these classes."""
        kept = list(columns)
        return ScoreHistograms(self.positive[kept], self.negative[kept], self.patients[kept])


def count_scores(labels: Labels, p: Probs, patients: NDArray[Any]) -> ScoreHistograms:
    """Count the scores of the annotated examples of each class.

    labels and p are (example, class), patients (example,) the names or numbers of theirs.
    """
    bins = np.searchsorted(BIN_EDGES, p, side="right")  # bin k holds EDGES[k-1] <= p < EDGES[k]
    names, patient = np.unique(patients, return_inverse=True)
    known, shown = labels >= 0, labels == 1
    n_known = count_by_patient(known, patient, len(names))  # (patient, class)
    share = np.rint(PATIENT / np.maximum(n_known, 1)).astype(np.int64)[patient]
    n_shown = count_by_patient(shown, patient, len(names))
    patients_of = [(counts > 0).sum(axis=0) for counts in (n_shown, n_known)]
    return ScoreHistograms(
        _histograms(bins, share * shown),
        _histograms(bins, share * (known & ~shown)),
        np.stack(patients_of, axis=1).astype(np.int64),
    )


def _histograms(bins: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of whole-number weights in each bin, exactly: both (example, class) -> (class, BINS)."""
    classes = bins.shape[1]
    place = bins + BINS * np.arange(classes)
    # Sums of floats below 2**53 that are whole numbers are exact.
    sums = np.bincount(place.ravel(), weights.ravel(), minlength=classes * BINS)
    return np.rint(sums).astype(np.int64).reshape(classes, BINS)


def histogram_aurocs(scores: ScoreHistograms) -> list[float | None]:
    """AUROC of each class from its histogram; scores in one bin count as ties."""
    return [None if np.isnan(found) else found for found in stacked_aurocs(scores).tolist()]


def stacked_aurocs(scores: ScoreHistograms) -> NDArray[np.float64]:
    """The same of several sites' histograms at once: (..., class, BINS) -> (..., class).

    NaN where a class has no pair of a positive and a negative.
    """
    positive, negative = scores.positive / PATIENT, scores.negative / PATIENT
    pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
    below = negative.cumsum(axis=-1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=-1)
    aurocs: NDArray[np.float64] = np.full(pairs.shape, np.nan)
    np.divide(wins, pairs, out=aurocs, where=pairs != 0)
    return aurocs


def confusion_counts(
    scores: ScoreHistograms, thresholds: Sequence[float | None]
) -> NDArray[np.int64]:
    """Counts of decisions by thresholds of the score; zeros for a class that has none.

    (..., class, BINS) -> (..., class, 4): true positives, predicted positives, positives,
    negatives, in units of PATIENT; they can be added. A bin is predicted if its lower edge is at or
    above the threshold.
    """
    decided = np.array([threshold is not None for threshold in thresholds])
    lowest = [0.0 if threshold is None else threshold for threshold in thresholds]
    first = np.searchsorted(BIN_EDGES, lowest, side="left") + 1
    above = np.arange(BINS) >= first[:, None]  # (class, BINS)
    right, wrong = ((of * above).sum(axis=-1) for of in (scores.positive, scores.negative))
    positives, negatives = (of.sum(axis=-1) for of in (scores.positive, scores.negative))
    counts = np.stack([right, right + wrong, positives, negatives], axis=-1)
    return np.where(decided[:, None], counts, 0)


def confusion_f1s(counts: NDArray[np.int64]) -> list[float | None]:
    """F1 of each class from `confusion_counts`; None without a positive or without a negative."""
    return [
        2 * right / (predicted + positive) if positive and negative else None
        for right, predicted, positive, negative in counts.tolist()
    ]


def empty_histograms(classes: int) -> ScoreHistograms:
    """The histograms of no example."""
    none = np.zeros((classes, BINS), dtype=np.int64)
    two = np.zeros((classes, 2), dtype=np.int64)
    return ScoreHistograms(none, none, two)


def stacked_histograms(parts: Sequence[ScoreHistograms]) -> ScoreHistograms:
    """Several sites' histograms, with the site as the first axis."""
    return ScoreHistograms(
        *map(np.stack, zip(*(vars(part).values() for part in parts), strict=True))
    )
