"""Rolling means and percentiles over the beats of a recording, centred or causal."""

import numpy as np
import scipy
from numpy.typing import NDArray

Rows = NDArray[np.float64]  # (beat, sample)
Column = NDArray[np.float64]  # (beat,)


def usual_beat(values: NDArray[np.float64], causal: bool) -> NDArray[np.float64]:
    """Median over all beats, or over the last hundred where `causal`: same shape as `values`.

    The first axis of `values` is the beats, in order of time.
    """
    if not causal:
        return np.broadcast_to(np.median(values, axis=0), values.shape)
    return rolling_percentile(values, 50, 50, causal)


def median_of_neighbours(rows: Rows, causal: bool) -> Rows:
    """Median of the nearby beats, sample by sample: (beat, sample)."""
    return rolling_percentile(rows, 15, 50, causal)


def rolling_percentile(
    values: NDArray[np.float64], each_side: int, percent: int, causal: bool
) -> NDArray[np.float64]:
    """Percentile over the beats around each beat, or over as many before it where `causal`.

    The first axis of `values` is the beats; the result has the same shape.
    """
    columns = values.reshape(len(values), -1).T
    # One column at a time: in one dimension the filter is fast, in two it sorts every window.
    percentiles = [
        scipy.ndimage.percentile_filter(
            column,
            percent,
            size=2 * each_side + 1,
            # Before the first beat the values are mirrored, but a causal filter must not mirror
            # later beats.
            mode="nearest" if causal else "reflect",
            origin=each_side if causal else 0,
        )
        for column in np.ascontiguousarray(columns)
    ]
    return np.stack(percentiles, axis=1).reshape(values.shape)


def rolling_mean(values: Column, each_side: int, causal: bool, width: int = 0) -> Column:
    """Mean of the beats around each beat, or of the last `width` beats where `causal`: (beat,).

    There are fewer beats at the ends of the recording. `width` is 2 * `each_side` + 1 unless given.
    """
    sums = np.concatenate([[0.0], values.cumsum()])
    beat = np.arange(len(values))
    width = width or 2 * each_side + 1
    starts = np.maximum(beat - (width - 1 if causal else each_side), 0)
    ends = np.minimum(beat + (0 if causal else each_side) + 1, len(values))
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))
