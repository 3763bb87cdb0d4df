"""A clipped lead stays at its extremes; a tone only reaches them."""

import numpy as np
import pytest

from fl.ecg.quality import fill_gaps, has_signal, lack_of_signal

TIME = np.arange(5000) / 500


def reason(samples):
    samples = np.asarray(samples, dtype=np.float32)
    return lack_of_signal(samples, samples)


@pytest.mark.parametrize("hertz", [1, 5, 25, 50, 60, 125])
def test_a_tone_is_not_clipped(hertz):
    assert reason(np.round(0.5 * np.sin(2 * np.pi * hertz * TIME), 3)) == ""


@pytest.mark.parametrize(("limit", "found"), [(0.9, "clipped"), (0.9999, "")])
def test_a_signal_that_stays_at_its_limit_is_clipped(limit, found):
    wave = np.sin(2 * np.pi * TIME)
    assert reason(np.clip(wave, -limit, limit)) == found


def test_a_flat_or_missing_lead_has_no_signal():
    assert reason(np.full(100, 0.3)) == "flat"
    gaps = np.where(np.arange(100) < 6, np.nan, np.sin(np.arange(100)))
    assert reason(gaps) == "missing"
    assert not has_signal(gaps, gaps)
    assert reason(np.where(np.arange(100) < 4, np.nan, np.sin(np.arange(100)))) == ""


def test_gaps_are_bridged_by_straight_lines():
    filled = fill_gaps(np.array([0.0, np.nan, np.nan, 3.0], dtype=np.float32))
    assert filled.tolist() == [0.0, 1.0, 2.0, 3.0]
