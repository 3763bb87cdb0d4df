"""Rolling means and percentiles over the beats of a recording, centred or causal."""

import numpy as np
import scipy
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Column = NDArray[np.float64]


def usual_beat(values: NDArray[np.float64], causal: bool) -> NDArray[np.float64]:
    """Median over the recording's beats, or over the last hundred: same shape as `values`."""
    if not causal:
        return np.broadcast_to(np.median(values, axis=0), values.shape)
    return rolling_percentile(values, 50, 50, causal)


def median_of_neighbours(rows: Rows, causal: bool) -> Rows:
    """Median of the beats hereabouts, sample by sample: (beat, sample)."""
    return rolling_percentile(rows, 15, 50, causal)


def rolling_percentile(
    values: NDArray[np.float64], each_side: int, percent: int, causal: bool
) -> NDArray[np.float64]:
    """Percentile over the beats around each beat, or as many before it where `causal`."""
    columns = values.reshape(len(values), -1).T
    # One column at a time: in one dimension the filter is fast, in two it sorts every window.
    found = [
        scipy.ndimage.percentile_filter(
            column,
            percent,
            size=2 * each_side + 1,
            # Beyond the first beat there is none: mirrored, but not into what is yet to come.
            mode="nearest" if causal else "reflect",
            origin=each_side if causal else 0,
        )
        for column in np.ascontiguousarray(columns)
    ]
    return np.stack(found, axis=1).reshape(values.shape)


def rolling_mean(values: Column, each_side: int, causal: bool, width: int = 0) -> Column:
    """Mean of the beats around each beat, fewer at the ends; the last `width` where `causal`."""
    sums = np.concatenate([[0.0], values.cumsum()])
    place = np.arange(len(values))
    width = width or 2 * each_side + 1
    starts = np.maximum(place - (width - 1 if causal else each_side), 0)
    ends = np.minimum(place + (0 if causal else each_side) + 1, len(values))
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))
