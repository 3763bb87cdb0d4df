"""Rolling percentiles against sorting every window, and what a causal one may use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.ecg.rolling_statistics import rolling_percentile, usual_beat

LENGTHS = st.integers(1, 60)
SIDES = st.integers(1, 70)  # windows longer than the recording as well
PERCENTS = st.sampled_from([30, 50, 75, 90, 95])


def by_sorting(values, each_side, percent, causal):
    """Sort the window of every beat and sample, and take the value at the percentile's rank."""
    n, size = len(values), 2 * each_side + 1
    percentiles = np.empty_like(values)
    for beat in range(n):
        window = np.arange(size) + beat - (2 * each_side if causal else each_side)
        if causal:
            window = window.clip(0)
        else:  # 2 1 0 | 0 1 2 | 2 1 0, again and again
            window %= 2 * n
            window = np.where(window < n, window, 2 * n - 1 - window)
        percentiles[beat] = np.sort(values[window], axis=0)[size * percent // 100]
    return percentiles


@pytest.mark.parametrize("causal", [False, True])
@given(length=LENGTHS, each_side=SIDES, percent=PERCENTS, seed=st.integers(0, 99))
def test_a_percentile_is_the_one_found_by_sorting_each_window(
    causal, length, each_side, percent, seed
):
    rng = np.random.default_rng(seed)
    # Rounded, so that some values are equal; columns of different size, so that they do not mix.
    rows = rng.normal([0.0, 100.0, -100.0], size=(length, 3)).round(1)
    for values in (rows, rows[:, 0]):
        found = rolling_percentile(values, each_side, percent, causal)
        np.testing.assert_array_equal(found, by_sorting(values, each_side, percent, causal))


@given(length=LENGTHS, each_side=SIDES, percent=PERCENTS, later=st.integers(1, 60))
def test_a_causal_percentile_does_not_depend_on_later_beats(length, each_side, percent, later):
    rows = np.random.default_rng(later).normal(size=(length + later, 2))
    rows[length:] *= 1e6
    found = rolling_percentile(rows, each_side, percent, True)[:length]
    so_far = rolling_percentile(rows[:length], each_side, percent, True)
    np.testing.assert_array_equal(found, so_far)


@given(length=LENGTHS, each_side=SIDES)
def test_a_centred_median_of_the_recording_backwards_is_backwards(length, each_side):
    rows = np.random.default_rng(length).normal(size=(length, 2))
    backwards = rolling_percentile(rows[::-1], each_side, 50, False)
    np.testing.assert_array_equal(backwards[::-1], rolling_percentile(rows, each_side, 50, False))


def test_the_usual_beat_is_the_median_of_all_beats_or_of_the_last_hundred(rng):
    beats = rng.normal(size=(250, 4))
    np.testing.assert_array_equal(usual_beat(beats, False)[7], np.median(beats, axis=0))
    np.testing.assert_array_equal(usual_beat(beats, True)[200], np.median(beats[100:201], axis=0))
