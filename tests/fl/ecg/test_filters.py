"""Filters keep the time and shape of waves, and remove only noise and baseline."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.ecg.filters import (
    LARGEST_DENOMINATOR,
    bandpass,
    rate_ratio,
    remove_baseline,
    resample,
    windows_around,
    zscore,
)


def sine(hz, fs, seconds=10.0, leads=1):
    t = np.arange(round(seconds * fs)) / fs
    return np.tile(np.sin(2 * np.pi * hz * t), (leads, 1)).astype(np.float32)


def middle(signal, fs):
    """Without the first and last two seconds, where filters settle."""
    return signal[:, int(2 * fs) : -int(2 * fs)]


@pytest.mark.parametrize("fs", [250.0, 257.0, 360.0, 500.0, 1000.0])
def test_resampling_keeps_the_seconds_and_the_wave(fs):
    resampled = resample(sine(5, fs), fs, 100)
    assert resampled.shape == (1, 1000)
    np.testing.assert_allclose(middle(resampled, 100), middle(sine(5, 100), 100), atol=0.01)


def test_resampling_does_not_turn_a_fast_wave_into_a_slow_one():
    assert np.abs(middle(resample(sine(95, 500), 500, 100), 100)).max() < 0.01


def test_resampling_to_the_same_rate_changes_nothing():
    signal = sine(5, 360)
    assert resample(signal, 360, 360) is signal


def test_resampling_does_not_ring_on_an_offset():
    np.testing.assert_allclose(resample(sine(0, 360) + 5, 360, 100), 5, atol=1e-3)


@pytest.mark.parametrize(("hz", "kept"), [(0.05, 0.01), (1, 1.0), (5, 1.0), (20, 1.0), (49, 0.25)])
def test_the_band_pass_keeps_the_heart_and_drops_wander_and_hum(hz, kept):
    passed = middle(bandpass(sine(hz, 100, 40), 100), 100)
    if kept == 1.0:  # forwards and backwards: nothing is shifted in time
        np.testing.assert_allclose(passed, middle(sine(hz, 100, 40), 100), atol=0.05)
    else:
        assert np.abs(passed).max() <= kept


def test_the_band_pass_takes_a_recording_shorter_than_its_padding():
    assert np.isfinite(bandpass(sine(5, 100, 1.0), 100)).all()


def test_the_baseline_is_removed_and_the_beat_is_kept():
    signal = np.full((1, 1800), 3.0, dtype=np.float32)
    signal[0, 900:910] += 1.0  # 0.06 s, as long as a QRS
    np.testing.assert_allclose(remove_baseline(signal, 180.0), signal - 3.0, atol=1e-6)


@given(st.floats(0.01, 50), st.floats(-100, 100))
def test_normalised_leads_do_not_depend_on_scale_and_offset(scale, offset):
    wave = np.array([[0.0, 1.0, 2.0, 5.0]])
    np.testing.assert_allclose(
        zscore((wave * scale + offset).astype(np.float32)),
        zscore(wave.astype(np.float32)),
        atol=0.05,
    )


def test_a_flat_lead_becomes_zero():
    assert zscore(np.full((2, 50), 7.0, dtype=np.float32)).tolist() == np.zeros((2, 50)).tolist()


def test_windows_repeat_the_end_sample_beyond_an_end():
    signal = np.arange(10, dtype=np.float32)[None]
    windows = windows_around(signal, np.array([1, 5, 9]), before=2, after=2)
    assert windows[:, 0].tolist() == [[0, 0, 1, 2], [3, 4, 5, 6], [7, 8, 9, 9]]


def test_there_is_one_window_per_centre_and_lead():
    assert windows_around(sine(1, 100, leads=3), np.array([50, 80]), 4, 6).shape == (2, 3, 10)


def test_each_lead_has_its_own_baseline():
    two = np.stack([np.full(900, 1.0), np.linspace(0, 9, 900)]).astype(np.float32)
    separately = np.concatenate([remove_baseline(two[:1], 180.0), remove_baseline(two[1:], 180.0)])
    np.testing.assert_array_equal(remove_baseline(two, 180.0), separately)


@pytest.mark.parametrize("fs", [123456.789, 999999.999, 360.001, 1.5])
def test_no_sampling_rate_makes_a_filter_of_any_length(fs):
    ratio = rate_ratio(fs, 125.0)
    assert ratio.denominator <= LARGEST_DENOMINATOR
    assert float(ratio) == pytest.approx(125.0 / fs, rel=2e-5)


@pytest.mark.parametrize("fs", [100, 128, 250, 257, 360, 500, 977.5])
def test_usual_rates_are_met_exactly(fs):
    assert rate_ratio(fs, 180.0) * Fraction(fs) == 180
