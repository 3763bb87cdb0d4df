"""Whether a probability means what it says: of all with .7, seven in ten should be true.

Truth is (example,) bool, probabilities (example,) in 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10  # of equal width, as is usual for the expected calibration error


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
