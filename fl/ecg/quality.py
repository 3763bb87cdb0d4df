"""Whether a lead has a usable signal, and how its gaps are filled."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BAD_SHARE = 0.05  # a lead with more missing or clipped samples than this is dropped


def has_signal(stored: NDArray[Any], samples: NDArray[np.float32]) -> bool:
    """Whether a lead has a usable signal: not flat, not clipped, and at most 5% missing."""
    return not lack_of_signal(stored, samples)


def lack_of_signal(stored: NDArray[Any], samples: NDArray[np.float32]) -> str:
    """Why a lead has no usable signal: "missing", "flat" or "clipped"; "" if it has one.

    `stored` (sample,) are the stored numbers, whose extremes show clipping; `samples` (sample,)
    the values in mV, nan where a sample is missing.
    """
    present = np.isfinite(samples)
    if 1 - present.mean() > BAD_SHARE:
        return "missing"
    if not present.all():
        stored = stored[present]
    low, high = stored.min(), stored.max()
    if low == high:
        return "flat"
    at_rail = max(float((stored == low).mean()), float((stored == high).mean()))
    return "clipped" if at_rail > BAD_SHARE else ""


def fill_gaps(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The lead (sample,) with its missing samples (nan) replaced by straight lines, in place."""
    gaps = ~np.isfinite(samples)
    if not gaps.any():
        return samples
    positions = np.arange(len(samples))
    samples[gaps] = np.interp(positions[gaps], positions[~gaps], samples[~gaps])
    return samples
