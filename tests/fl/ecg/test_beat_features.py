"""A heartbeat in numbers, by hand: intervals, templates, and what a monitor may know."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.beat_recordings import recording

from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.beat_features import FEATURES, beat_features, shape, timing
from fl.ecg.beat_segments import BEAT_AFTER, BEAT_BEFORE
from fl.ecg.records import Record
from fl.ecg.tasks import BEAT, BEAT_CAUSAL

SAMPLES = BEAT_BEFORE + BEAT_AFTER
# 100, 100, 50 (early), 150 (pause), in s: the mean of all four is 1.
EARLY = np.array([0.0, 1.0, 2.0, 2.5, 4.0])


def wave(at, width, height):
    return height * np.exp(-(((np.arange(SAMPLES) - BEAT_BEFORE - at) / width) ** 2))


def beats_of(n, rng, p=0.2):
    """Beats with P, QRS and T, and a little noise."""
    one = wave(-28, 5, p) + wave(0, 4, 3.0) + wave(45, 12, 0.6)
    return one + 0.01 * rng.normal(size=(n, SAMPLES))


def test_an_early_beat_and_its_pause():
    found = timing(EARLY)
    assert found["pre/local"][3] == pytest.approx(np.log(0.5 / ((1 + 1 + 1 + 0.5) / 4)))
    assert found["post/pre"][3] == pytest.approx(np.log(1.5 / 0.5))
    assert found["local/global"][3] == pytest.approx(np.log((3.5 / 4) / 1.0))
    # 20 beats to each side are all five here: their `pre` are 1, 1, 1, 0.5 and 1.5.
    assert found["pre/around 20"][3] == pytest.approx(np.log(0.5 / 1.0))
    assert found["pair/around 20"][3] == pytest.approx(0)  # a fully compensatory pause
    assert found["pre2/around 20"][4] == pytest.approx(np.log(0.5))
    assert found["post2/around 20"][2] == pytest.approx(np.log(1.5))


def test_regular_beats_change_less_than_irregular_ones(rng):
    even = timing(np.arange(100.0))["change 30, median"]
    odd = timing(np.cumsum(rng.uniform(0.4, 1.2, 100)))["change 30, median"]
    np.testing.assert_allclose(even, np.log10(0.005))
    assert odd.min() > np.log10(0.08)


def test_one_early_beat_does_not_make_a_rhythm_irregular():
    times = np.arange(100.0)
    times[50] -= 0.4
    np.testing.assert_allclose(timing(times)["change 10, median"], np.log10(0.005))
    assert timing(times)["change 10, mean"][50] > np.log10(0.05)


@given(st.lists(st.floats(0.3, 2.0), min_size=3, max_size=60), st.floats(0.5, 2.0))
def test_timing_does_not_depend_on_the_heart_rate(intervals, factor):
    times = np.concatenate([[0.0], np.cumsum(intervals)])
    one, other = timing(times), timing(times * factor)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)


def test_where_most_beats_are_early_the_long_intervals_still_tell(rng):
    """Four early beats, then one that comes in time: against the median the early are on time."""
    pre = np.tile([0.6, 0.6, 0.6, 0.6, 1.0], 30)
    found, early = timing(np.cumsum(pre)), pre < 0.8
    inner = slice(60, 90)
    assert np.abs(found["pre/usual"][inner][early[inner]]).max() < 0.01
    for name in ("pre/longest", "pre/longest 60", "pre/latest 60"):
        assert found[name][inner][early[inner]].max() < np.log(0.7)
        assert np.abs(found[name][inner][~early[inner]]).max() < 0.01


def test_a_wide_qrs_is_told_by_its_shape(rng):
    beats = beats_of(61, rng)
    beats[30] = wave(4, 14, -3.0)
    found = shape(beats, np.arange(61.0))
    for name, sign in (("qrs like median", -1), ("qrs rest", 1), ("qrs width", 1)):
        others = np.delete(found[name], 30)
        assert sign * (found[name][30] - np.median(others)) > 10 * others.std(), name
    assert found["qrs like median"][0] == pytest.approx(1, abs=0.01)
    assert found["qrs height"][30] == pytest.approx(0, abs=0.02)


def test_a_beat_without_p_is_told_by_its_p(rng):
    beats = beats_of(61, rng)
    beats[30] -= wave(-28, 5, 0.2)
    found = shape(beats, np.arange(61.0))
    assert found["p like median"][30] < 0.5 < 0.9 < np.delete(found["p like median"], 30).min()
    assert found["p rest, relative"][30] > 1
    assert found["qrs like median"][30] > 0.99


def test_p_waves_are_alike_in_sinus_rhythm_and_not_in_fibrillation(rng):
    alike = shape(beats_of(80, rng), np.arange(80.0))["p alike, median"]
    none = shape(beats_of(80, rng, p=0.0), np.arange(80.0))["p alike, median"]
    assert alike.min() > 0.9
    assert none.max() < 0.6


def test_an_early_p_on_a_t_wave_is_found_once_the_t_is_taken_away(rng):
    """The early beat comes 0.5 s after the last: its P window holds that one's T wave."""
    beats, times = beats_of(61, rng), np.arange(61.0)
    times[30] -= 0.5
    tail = beats[29, BEAT_BEFORE:][np.clip(np.arange(-45, -12) + 90, 0, BEAT_AFTER - 1)]
    gone = np.arange(-45, -12) + 90 >= BEAT_AFTER
    beats[30, 3:36] += np.where(gone, 0, tail)
    found = shape(beats, times)
    assert found["p without t"][30] > found["p like median"][30]


def test_features_are_as_many_as_the_task_names_and_limited(rng):
    beats = beats_of(40, rng)
    beats[20] *= 1e6
    features = beat_features(beats, np.cumsum(rng.uniform(0.2, 3.0, 40)))
    assert features.shape == (40, len(FEATURES)) == (40, len(BEAT.features))
    assert np.abs(features).max() == 4


@pytest.mark.parametrize("causal", [False, True])
def test_a_flat_lead_gives_finite_features(causal):
    features = beat_features(np.zeros((5, SAMPLES)), EARLY, causal=causal)
    assert np.isfinite(features).all()


def test_a_monitor_knows_nothing_of_later_beats():
    one = recording(early=(30,))
    cut = 70  # beats that stay the same
    until = round(69.5 * one.fs)
    assert one.annotations is not None
    changed = one.signal.copy()
    changed[:, until + round(2 * one.fs) :] *= -1
    other = recording(early=(30, 80, 90, 91))
    other = Record(**{**vars(one), "signal": changed, "annotations": other.annotations})
    knows = {}
    for name, causal in (("monitor", True), ("whole", False)):
        first, second = BeatExampleMaker(causal=causal)(one), BeatExampleMaker(causal=causal)(other)
        same = slice(0, cut - 2)
        knows[name] = np.allclose(first.features[same], second.features[same], atol=2e-2)
    assert knows == {"monitor": True, "whole": False}


def test_a_monitor_has_no_word_on_the_next_interval():
    features = BEAT_CAUSAL.make_examples(recording(early=(30,))).features
    for name in ("post/pre", "post/around 20", "pair/around 20", "post surprise", "post/longest"):
        assert not features[:, FEATURES.index(name)].any()
    assert features[29, FEATURES.index("pre/local")] < -1


def test_the_second_channel_is_what_distinguishes_the_beat_from_the_median():
    examples = BEAT.make_examples(recording(early=(30,)))
    whole = np.stack(examples.signals)
    assert whole.shape == (118, 2, BEAT.samples)
    assert examples.leads == (0, 1)
    median = whole[:, 0] - whole[:, 1]
    np.testing.assert_allclose(median, np.broadcast_to(median[0], median.shape), atol=1e-5)
    assert np.abs(whole[50, 1]).max() < 0.1 * np.abs(whole[50, 0]).max()
