"""Thresholds of each class and source, chosen on validation, and decisions by them."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.metrics import Probs
from fl.evaluation.score_histograms import BIN_EDGES, ScoreHistograms, empty_histograms

Thresholds = dict[str, float]
MIN_POSITIVES = 5  # in validation; a source with fewer takes the pooled threshold


def best_threshold(positive: NDArray[np.int64], negative: NDArray[np.int64]) -> float | None:
    """The edge of a histogram with the highest F1; the middle one if several have it."""
    if positive.sum() == 0 or negative.sum() == 0:
        return None
    true = positive[::-1].cumsum()[::-1][1:]  # at or above EDGES[k]
    false = negative[::-1].cumsum()[::-1][1:]
    f1 = 2 * true / (true + false + positive.sum())
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(BIN_EDGES[best[len(best) // 2]])


def choose_thresholds(
    by_source: Mapping[str, ScoreHistograms], classes: Sequence[str]
) -> dict[str, Thresholds]:
    """Thresholds of each source, and `pooled` for a source that no site trained on.

    A source with fewer than MIN_POSITIVES of a class takes the pooled threshold; a class without
    any positive takes 0.5. Each source has its own thresholds, because sources differ in
    prevalence and in what their readers call normal.
    """
    whole = sum(by_source.values(), start=empty_histograms(len(classes)))
    pooled = {
        name: best_threshold(whole.positive[c], whole.negative[c]) or 0.5
        for c, name in enumerate(classes)
    }
    chosen = {"pooled": pooled}
    for source, scores in sorted(by_source.items()):
        chosen[source] = dict(pooled)
        for c, name in enumerate(classes):
            if scores.positive[c].sum() >= MIN_POSITIVES:
                own = best_threshold(scores.positive[c], scores.negative[c])
                chosen[source][name] = pooled[name] if own is None else own
    return chosen


def decide(
    p: Probs,
    sources: Sequence[str] | NDArray[np.str_],
    thresholds: Mapping[str, Thresholds] | None,
    classes: Sequence[str],
) -> NDArray[np.bool_]:
    """Which classes are predicted to be present: (example, class).

    Without thresholds it is the most probable class, exactly one. With them it is every class at
    or above the threshold of the example's source, or the pooled one if that source has none.
    """
    if thresholds is None:
        return np.asarray(np.eye(len(classes), dtype=bool)[p.argmax(axis=1)])
    rows = [thresholds.get(str(s), thresholds["pooled"]) for s in np.unique(sources)]
    table = np.array([[row[c] for c in classes] for row in rows])
    _, which = np.unique(sources, return_inverse=True)
    return np.asarray(p >= table[which])
