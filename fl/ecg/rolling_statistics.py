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

    The first axis of `values` is the beats; the result has the same shape. Beyond its ends the
    recording is mirrored. A causal filter must not mirror later beats: for it, the first beat is
    repeated.
    """
    ends = (2 * each_side, 0) if causal else (each_side, each_side)
    padded = np.pad(np.arange(len(values)), ends, mode="edge" if causal else "symmetric")
    # All columns in one row, because the filter is fast in one dimension and sorts every window in
    # two. With a padding for each column, no window that is kept reaches into the next column.
    columns = values.reshape(len(values), -1)[padded].T
    percentiles = scipy.ndimage.percentile_filter(columns.ravel(), percent, 2 * each_side + 1)
    kept = percentiles.reshape(columns.shape)[:, each_side : each_side + len(values)]
    return np.ascontiguousarray(kept.T).reshape(values.shape)


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
