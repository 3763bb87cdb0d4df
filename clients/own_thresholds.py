"""Thresholds for a model that is a site's own, from the site's own validation records."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from fl.data.cohort import Cohort
from fl.evaluation.score_histograms import count_scores
from fl.evaluation.thresholds import MIN_POSITIVES, Thresholds, best_threshold


def own_thresholds(
    val: Cohort, p: NDArray[np.float64], sent: Mapping[str, Thresholds]
) -> dict[str, Thresholds]:
    """Thresholds of a site's own model, by source: its own where it has enough positive patients.

    `val` and `p` (example, class) are the site's validation records and what its own model
    predicts for them; `sent` are the federation's thresholds, which fit the federation's model.
    Each own threshold is drawn towards the federation's, the more so the fewer positive patients
    it rests on: with MIN_POSITIVES of them it lies half-way, in log-odds. Sources without a
    validation record keep the federation's.
    """
    chosen = {source: dict(row) for source, row in sent.items()}
    for source in np.unique(val.sources).tolist():
        part = val.take(rows := np.flatnonzero(val.sources == source))
        scores = count_scores(part.labels, p[rows])
        federation = sent.get(source, sent["pooled"])
        chosen[source] = {
            name: shrunk_threshold(
                best_threshold(scores.positive[c], scores.negative[c]),
                federation[name],
                len(set(part.patients[part.labels[:, c] == 1].tolist())),
            )
            for c, name in enumerate(val.task.classes)
        }
    return chosen


def shrunk_threshold(own: float | None, federation: float, patients: int) -> float:
    """A mean of both in log-odds, in which the own one weighs n / (n + MIN_POSITIVES)."""
    if own is None:  # no positive or no negative record: nothing to choose it on
        return federation
    weight = patients / (patients + MIN_POSITIVES)
    return float(np.round(expit(weight * logit(own) + (1 - weight) * logit(federation)), 7))
