"""Histograms of scores by patient, which sites can send and the server can add."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def count_scores(labels: Labels, p: Probs, patients: NDArray[np.str_]) -> ScoreHistograms:
    """Count the scores of the annotated examples of each class.

    labels and p are (example, class), patients (example,).
    """
    bins = np.searchsorted(BIN_EDGES, p, side="right")  # bin k holds EDGES[k-1] <= p < EDGES[k]
    names, patient = np.unique(patients, return_inverse=True)
    known, shown = labels >= 0, labels == 1
    n_known = _by_patient(known, patient, len(names))  # (patient, class)
    share = np.rint(PATIENT / np.maximum(n_known, 1)).astype(np.int64)[patient]
    positive, negative = (
        np.stack([_histogram(bins[:, c], share[:, c] * of[:, c]) for c in range(labels.shape[1])])
        for of in (shown, known & ~shown)
    )
    n_shown = _by_patient(shown, patient, len(names))
    patients_of = [(counts > 0).sum(axis=0) for counts in (n_shown, n_known)]
    return ScoreHistograms(
        positive,
        negative,
        np.stack(patients_of, axis=1).astype(np.int64),
    )


def _by_patient(
    of: NDArray[np.bool_], patient: NDArray[np.int64], n_patients: int
) -> NDArray[np.int64]:
    """How many examples of each patient are marked: (example, class) -> (patient, class)."""
    counts = np.zeros((n_patients, of.shape[1]), dtype=np.int64)
    np.add.at(counts, patient, of)
    return counts


def _histogram(bins: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of whole-number weights in each bin, exactly: (BINS,)."""
    # Sums of floats below 2**53 that are whole numbers are exact.
    return np.rint(np.bincount(bins, weights, minlength=BINS)).astype(np.int64)


def histogram_aurocs(scores: ScoreHistograms) -> list[float | None]:
    """AUROC of each class from its histogram; scores in one bin count as ties."""
    aurocs: list[float | None] = []
    for counts in zip(scores.positive, scores.negative, strict=True):
        positive, negative = (values / PATIENT for values in counts)
        pairs = positive.sum() * negative.sum()
        below = negative.cumsum() - negative
        wins = (positive * (below + negative / 2)).sum()
        aurocs.append(float(wins / pairs) if pairs else None)
    return aurocs


def confusion_counts(
    scores: ScoreHistograms, thresholds: Sequence[float | None]
) -> NDArray[np.int64]:
    """Counts of decisions by thresholds of the score; zeros for a class that has none.

    (class, 4): true positives, predicted positives, positives, negatives, in units of PATIENT;
    they can be added. A bin is predicted if its lower edge is at or above the threshold.
    """
    counts = np.zeros((len(thresholds), 4), dtype=np.int64)
    for c, threshold in enumerate(thresholds):
        if threshold is not None:
            first = int(np.searchsorted(BIN_EDGES, threshold, side="left")) + 1
            positive, negative = scores.positive[c], scores.negative[c]
            right, wrong = positive[first:].sum(), negative[first:].sum()
            counts[c] = right, right + wrong, positive.sum(), negative.sum()
    return counts


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
