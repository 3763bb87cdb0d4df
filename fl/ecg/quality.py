"""Whether a lead holds a signal at all, and how its gaps are bridged."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BAD_SHARE = 0.05  # a lead with more missing or clipped samples than this is dropped


def has_signal(stored: NDArray[Any], samples: NDArray[np.float32]) -> bool:
    """Whether a lead holds a signal: neither flat nor clipped nor mostly missing."""
    present = np.isfinite(samples)
    if 1 - present.mean() > BAD_SHARE:
        return False
    if not present.all():
        stored = stored[present]
    low, high = stored.min(), stored.max()
    if low == high:
        return False
    at_rail = max(float((stored == low).mean()), float((stored == high).mean()))
    return at_rail <= BAD_SHARE


def fill_gaps(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The lead with its missing samples (nan) filled in by straight lines."""
    gaps = ~np.isfinite(samples)
    if not gaps.any():
        return samples
    at = np.arange(len(samples))
    samples[gaps] = np.interp(at[gaps], at[~gaps], samples[~gaps])
    return samples
