"""Thresholds of each class and source, chosen on validation, of calibrated probabilities."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.decisions.platt_scaling import PlattMap, log_odds, sigmoid
from fl.evaluation.decisions.score_histograms import BIN_LOGITS, PATIENT, ScoreHistograms

Thresholds = dict[str, float]
POOLED_SOURCE = "pooled"  # the entry for a source that no site trained on
MIN_POSITIVES = 5  # patients in validation; a source with fewer takes that of all sources
SHRINKAGE = 10  # patients with the class at which a source's own threshold counts for half
MOST_PREDICTED = 1.25  # a class is predicted at most so many times as often as it occurs
WITHOUT_POSITIVES = 0.5  # threshold of a class that no validation patient shows
DECIMALS = 6  # of a threshold


def best_threshold(
    positive: NDArray[np.int64],
    negative: NDArray[np.int64],
    platt: PlattMap,
    odds: float = 1.0,
) -> float | None:
    """The threshold of the calibrated probability with the highest expected F1.

    The true positives above a threshold are expected from the calibrated probabilities: their sum
    varies less than a count of the few patients with the class does. No threshold is taken that
    predicts the class more than MOST_PREDICTED times as often as it is expected: such a threshold
    may have the highest F1 where it was chosen, but elsewhere it calls everyone ill. Where no
    score lies between several thresholds, the one nearest to half of the F1 is taken, which is
    the best one of all probabilities (Lipton et al. 2014, arXiv:1402.1892).

    `odds`: how many patients with the class there are where it is used, for each one here. `platt`
    is the calibration there.
    """
    if not positive.any() or not negative.any():
        return None
    p = sigmoid(platt.apply(BIN_LOGITS))
    # With as many patients without the class as here, there are `odds` times as many with it.
    here = p / (p + odds * (1 - p))
    weight = (positive + negative) / PATIENT * (here * odds + 1 - here)
    predicted = weight[::-1].cumsum()[::-1]  # at or above each bin
    true = (weight * p)[::-1].cumsum()[::-1]
    f1 = 2 * true / (predicted + true[0])
    allowed = predicted <= MOST_PREDICTED * true[0]
    allowed[-1] = True
    edges = sigmoid(platt.apply(BIN_LOGITS - _HALF_BIN))
    best = f1[allowed].max()
    equal = np.flatnonzero(allowed & (f1 >= best - 1e-12))
    return float(edges[equal[np.abs(edges[equal] - best / 2).argmin()]])


_HALF_BIN = (BIN_LOGITS[1] - BIN_LOGITS[0]) / 2


def thresholds_of(
    scores: ScoreHistograms,
    calibration: Mapping[str, PlattMap],
    classes: Sequence[str],
    odds: Mapping[str, float] = MappingProxyType({}),
) -> Thresholds:
    """The best threshold of each class; of a class that no patient shows, or all do, 0.5.

    `odds`: as of `best_threshold`, of the classes for which they are not 1.
    """
    chosen: Thresholds = {}
    for c, name in enumerate(classes):
        counts = scores.positive[c], scores.negative[c]
        best = best_threshold(*counts, calibration[name], odds.get(name, 1.0))
        chosen[name] = WITHOUT_POSITIVES if best is None else round(best, DECIMALS)
    return chosen


def thresholds_near(
    given: Mapping[str, float],
    scores: ScoreHistograms,
    calibration: Mapping[str, PlattMap],
    classes: Sequence[str],
) -> Thresholds:
    """Thresholds of one source, moved in log-odds towards the given ones by SHRINKAGE.

    With fewer than MIN_POSITIVES patients of a class it is the given one.
    """
    chosen = dict(given)
    for c, name in enumerate(classes):
        n = int(scores.patients[c, 0])
        own = best_threshold(scores.positive[c], scores.negative[c], calibration[name])
        if own is not None and n >= MIN_POSITIVES:
            chosen[name] = round(_shrunk(own, given[name], n), DECIMALS)
    return chosen


def _shrunk(own: float, pooled: float, n: int) -> float:
    """A source's own threshold, moved towards the pooled one by its few positive patients."""
    share = n / (n + SHRINKAGE)
    logits = log_odds(np.array([own, pooled]))
    return float(sigmoid(share * logits[0] + (1 - share) * logits[1]))
