"""Whether a probability means what it says: of all with .7, seven in ten should be true.

Truth is (example,) bool, probabilities (example,) in 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BINS = 10  # of equal width, as is usual for the expected calibration error
CLIP = 1e-7  # probabilities of 0 and 1 have no logit
_FITTING = Lock()  # while one thread limits the libraries' threads, another cannot


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """One point of a reliability curve: the examples whose probability lies in one bin."""

    low: float  # edges of the bin
    high: float
    n: int  # examples
    mean_p: float  # their mean probability
    observed: float  # the share of them that is true


def reliability(
    truth: NDArray[np.bool_], p: NDArray[np.float64], bins: int = BINS
) -> list[CalibrationBin]:
    """The points of a reliability curve, one for each bin that holds an example.

    The last bin holds p = 1 as well.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=p, minlength=bins)
    true = np.bincount(place, weights=truth.astype(np.float64), minlength=bins)
    return [
        CalibrationBin(
            low=float(edges[k]),
            high=float(edges[k + 1]),
            n=int(counts[k]),
            mean_p=float(sums[k] / counts[k]),
            observed=float(true[k] / counts[k]),
        )
        for k in np.flatnonzero(counts).tolist()
    ]


def expected_calibration_error(curve: Sequence[CalibrationBin]) -> float:
    """Mean distance between the predicted and the observed share, over the examples of a curve.

    Source: Naeini et al. 2015, 10.1609/aaai.v29i1.9602.
    """
    n = sum(point.n for point in curve)
    return float(sum(point.n * abs(point.mean_p - point.observed) for point in curve) / n)


def recalibration(
    truth: NDArray[np.bool_], p: NDArray[np.float64], who: NDArray[np.int64]
) -> dict[str, float]:
    """Slope and intercept of a logistic recalibration, in which every patient counts once.

    `calibration_slope` is that of truth on logit p (below 1: the probabilities are too extreme);
    `calibration_intercept` is calibration-in-the-large, with the slope fixed at 1 (below 0: the
    probabilities are too high). The slope is left out where no line fits best, because the
    probabilities separate the class, or are all one. `who` is (example,) the patient, as a number.
    Source: Cox 1958, 10.1093/biomet/45.3-4.562; Van Calster et al. 2019,
    10.1186/s12916-019-1466-7.
    """
    from scipy.optimize import brentq
    from scipy.special import expit, logit
    from sklearn.linear_model import LogisticRegression

    score, weight = logit(np.clip(p, CLIP, 1 - CLIP)), 1 / np.bincount(who)[who]
    if not truth.any() or truth.all():
        return {}

    def excess(shift: float) -> float:
        return float((weight * (truth - expit(score + shift))).sum())

    # At the ends every probability is 0 or 1, so that the root lies between.
    found = {"calibration_intercept": float(brentq(excess, -80, 80))}
    yes, no = score[truth], score[~truth]
    if no.max() > yes.min() and yes.max() > no.min():
        fit = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
        # Of two parameters, threads wait for each other twenty times as long as they work, and
        # the last digit would depend on how many cores a machine has.
        with _FITTING, _blas_threads().limit(limits=1, user_api="blas"):
            fit.fit(score[:, None], truth, sample_weight=weight)
        found["calibration_slope"] = float(fit.coef_[0, 0])
    return found


@cache
def _blas_threads() -> "ThreadpoolController":
    """Sets the threads of NumPy's and SciPy's linear algebra; both must be loaded before."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
