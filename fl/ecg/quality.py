"""Whether a lead has a usable signal, and how its gaps are filled."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BAD_SHARE = 0.05  # a lead with more missing or clipped samples than this is dropped
PLATEAU = 3  # samples in a row at an extreme; a tone reaches its own extreme for one or two


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
    at_rail = max(_share_in_plateaus(stored == extreme) for extreme in (low, high))
    return "clipped" if at_rail > BAD_SHARE else ""


def _share_in_plateaus(at_extreme: NDArray[np.bool_]) -> float:
    """The share of the samples that are at an extreme for PLATEAU samples or more in a row."""
    edges = np.flatnonzero(np.diff(at_extreme.astype(np.int8), prepend=0, append=0))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= PLATEAU].sum() / len(at_extreme))


def fill_gaps(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The lead (sample,) with its missing samples (nan) replaced by straight lines, in place."""
    gaps = ~np.isfinite(samples)
    if not gaps.any():
        return samples
    positions = np.arange(len(samples))
    samples[gaps] = np.interp(positions[gaps], positions[~gaps], samples[~gaps])
    return samples
