"""Two numbers for each class and source that make a network's probabilities mean what they say.

Platt scaling: log-odds of a class are multiplied by a slope and moved by an intercept. Both are
fitted on histograms of validation scores, which sites can send and the server can add, and in
which every patient counts once. Source: Platt 1999, Probabilistic outputs for support vector
machines. We differ in the prior: see `fit_platt`.
"""

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.decisions.score_histograms import BIN_LOGITS, PATIENT
from fl.util.json_record import JsonRecord

# How far a slope and an intercept may be from those that are expected (standard deviations of a
# normal prior). With few patients the fit stays near the prior, with many it follows them.
PRIOR_SD = np.array([0.5, 1.0])
SMALLEST_SLOPE = 0.05  # a slope of zero would give everyone the same probability
SMALLEST_P = 1e-7  # of a network; its log-odds are finite
DECIMALS = 7  # of a probability, as in predictions.csv
STEPS, TOLERANCE = 50, 1e-9  # of Newton's method


class PlattMap(JsonRecord):
    """A network's probability of one class becomes sigmoid(slope * log-odds + intercept)."""

    slope: float
    intercept: float

    def apply(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of a network -> calibrated log-odds, of the same shape."""
        return np.asarray(self.slope * logits + self.intercept)

    def undone(self, calibrated: float) -> float:
        """The network's probability that becomes this calibrated one."""
        logit = log_odds(np.array(calibrated))
        return float(sigmoid((logit - self.intercept) / self.slope))


IDENTITY = PlattMap(slope=1.0, intercept=0.0)


def log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log-odds of probabilities; those of 0 and 1 are made finite."""
    clipped = np.clip(p, SMALLEST_P, 1 - SMALLEST_P)
    return np.asarray(np.log(clipped / (1 - clipped)))


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds -> probabilities, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def fit_platt(
    positive: NDArray[np.int64], negative: NDArray[np.int64], prior: PlattMap = IDENTITY
) -> PlattMap:
    """The most probable slope and intercept for two histograms of one class: (BINS,) each.

    A source's fit has the fit of all sources as its prior, so that a source with few patients
    takes over what all have in common. With no patient at all it is the prior itself.
    """
    weights = np.stack([negative, positive]) / PATIENT
    if not weights.any():
        return prior
    features = np.stack([BIN_LOGITS, np.ones_like(BIN_LOGITS)])  # of slope and intercept
    centre = np.array([prior.slope, prior.intercept])
    at, cost = centre, _cost(centre, weights, features, centre)
    for _ in range(STEPS):
        p = sigmoid(at @ features)
        errors = weights.sum(axis=0) * p - weights[1]
        gradient = features @ errors + (at - centre) / PRIOR_SD**2
        curvature = (features * (weights.sum(axis=0) * p * (1 - p))) @ features.T
        step = np.linalg.solve(curvature + np.diag(1 / PRIOR_SD**2), gradient)
        while (tried := _cost(at - step, weights, features, centre)) > cost + TOLERANCE:
            step = step / 2
        at, cost = at - step, tried
        if np.abs(step).max() < TOLERANCE:
            break
    return PlattMap(slope=round(max(float(at[0]), SMALLEST_SLOPE), 7), intercept=_rounded(at[1]))


def _rounded(value: float) -> float:
    return round(float(value), 7)


def _cost(
    at: NDArray[np.float64],
    weights: NDArray[np.float64],
    features: NDArray[np.float64],
    centre: NDArray[np.float64],
) -> float:
    """Negative log of the posterior: weighted log loss and normal prior."""
    logits = at @ features
    loss = weights[0] @ np.logaddexp(0, logits) + weights[1] @ np.logaddexp(0, -logits)
    return float(loss + (((at - centre) / PRIOR_SD) ** 2).sum() / 2)
