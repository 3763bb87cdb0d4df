"""Histograms of scores, which sites can send and the server can add, and their measures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.metrics import Labels, Probs

# The edges are even in log-odds, so that small probabilities (rare classes) are resolved as finely
# as large ones. They are rounded like probabilities, so that both decide alike at an edge.
BIN_EDGES = np.round(1 / (1 + np.exp(-np.arange(-127, 128) / 16)), 7)
BINS = len(BIN_EDGES) + 1


@dataclass(frozen=True)
class ScoreHistograms:
    """The scores of one split of one site, as counts that can be added."""

    positive: NDArray[np.int64]  # (class, BINS) examples of the class, by score
    negative: NDArray[np.int64]  # (class, BINS) annotated examples not of it, by score
    argmax: NDArray[np.int64]  # (class, 2) as the most probable class: how often right, in all

    def __add__(self, other: "ScoreHistograms") -> "ScoreHistograms":
        return ScoreHistograms(
            self.positive + other.positive,
            self.negative + other.negative,
            self.argmax + other.argmax,
        )


def count_scores(labels: Labels, p: Probs) -> ScoreHistograms:
    """Count the scores of the annotated examples of each class."""
    bins = np.searchsorted(BIN_EDGES, p, side="right")  # bin k holds EDGES[k-1] <= p < EDGES[k]
    counts = [
        np.stack(
            [
                np.bincount(bins[labels[:, c] == value, c], minlength=BINS)
                for c in range(labels.shape[1])
            ]
        ).astype(np.int64)
        for value in (1, 0)
    ]
    predicted = np.eye(labels.shape[1], dtype=bool)[p.argmax(axis=1)]
    argmax = np.stack([(predicted & (labels == 1)).sum(axis=0), predicted.sum(axis=0)], axis=1)
    return ScoreHistograms(counts[0], counts[1], argmax.astype(np.int64))


def histogram_aurocs(scores: ScoreHistograms) -> list[float | None]:
    """AUROC of each class from its histogram; scores in one bin count as ties."""
    aurocs: list[float | None] = []
    for positive, negative in zip(scores.positive, scores.negative, strict=True):
        pairs = int(positive.sum()) * int(negative.sum())
        below = negative.cumsum() - negative
        wins = (positive * (below + negative / 2)).sum()
        aurocs.append(float(wins / pairs) if pairs else None)
    return aurocs


def confusion_counts(
    scores: ScoreHistograms, thresholds: Sequence[float] | None = None
) -> NDArray[np.int64]:
    """Counts of decisions by thresholds (each one of BIN_EDGES) or by the most probable class.

    (class, 4): true positives, predicted positives, positives, negatives; they can be added.
    """
    positive, negative = scores.positive.sum(axis=1), scores.negative.sum(axis=1)
    if thresholds is None:
        return np.stack([scores.argmax[:, 0], scores.argmax[:, 1], positive, negative], axis=1)
    at_least = np.arange(BINS) >= np.searchsorted(BIN_EDGES, thresholds, side="right")[:, None]
    right = (scores.positive * at_least).sum(axis=1)
    predicted = right + (scores.negative * at_least).sum(axis=1)
    return np.stack([right, predicted, positive, negative], axis=1)


def confusion_f1s(counts: NDArray[np.int64]) -> list[float | None]:
    """F1 of each class from `confusion_counts`; None without a positive or without a negative."""
    return [
        2 * right / (predicted + positive) if positive and negative else None
        for right, predicted, positive, negative in counts.tolist()
    ]


def empty_histograms(classes: int) -> ScoreHistograms:
    """The histograms of no example."""
    none = np.zeros((classes, BINS), dtype=np.int64)
    return ScoreHistograms(none, none, np.zeros((classes, 2), dtype=np.int64))
