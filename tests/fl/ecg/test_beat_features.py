"""Features of heartbeats, computed by hand: intervals, shapes, and what a monitor may use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.beat_recordings import recording

from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.beat_features import FEATURES, beat_features, shape, timing
from fl.ecg.beat_segments import BEAT_AFTER, BEAT_BEFORE, annotated_beats
from fl.ecg.records import Record
from fl.ecg.rolling_statistics import usual_beat
from fl.ecg.tasks import BEAT, BEAT_CAUSAL

SAMPLES = BEAT_BEFORE + BEAT_AFTER
# R peaks in s. The intervals are 1, 1, 0.5 (early) and 1.5 (pause); their mean is 1.
EARLY = np.array([0.0, 1.0, 2.0, 2.5, 4.0])
AGAINST_A_FIXED_INTERVAL = ("pre/0.75 s", "nearby/0.75 s")


def wave(at, width, height):
    return height * np.exp(-(((np.arange(SAMPLES) - BEAT_BEFORE - at) / width) ** 2))


def beats_of(n, rng, p=0.2):
    """`n` beats with P, QRS and T, and a little noise."""
    beat = wave(-28, 5, p) + wave(0, 4, 3.0) + wave(45, 12, 0.6)
    return beat + 0.01 * rng.normal(size=(n, SAMPLES))


def test_the_features_of_an_early_beat_and_its_pause():
    features = timing(EARLY)
    assert features["pre/local"][3] == pytest.approx(np.log(0.5 / ((1 + 1 + 1 + 0.5) / 4)))
    assert features["post/pre"][3] == pytest.approx(np.log(1.5 / 0.5))
    assert features["local/global"][3] == pytest.approx(np.log((3.5 / 4) / 1.0))
    # The recording has five beats, all within 20: their `pre` are 1, 1, 1, 0.5 and 1.5.
    assert features["pre/around 20"][3] == pytest.approx(np.log(0.5 / 1.0))
    assert features["pair/around 20"][3] == pytest.approx(0)  # a fully compensatory pause
    assert features["pre2/around 20"][4] == pytest.approx(np.log(0.5))
    assert features["post2/around 20"][2] == pytest.approx(np.log(1.5))


def test_regular_beats_change_less_than_irregular_ones(rng):
    regular = timing(np.arange(100.0))["change 30, median"]
    irregular = timing(np.cumsum(rng.uniform(0.4, 1.2, 100)))["change 30, median"]
    np.testing.assert_allclose(regular, np.log10(0.005))
    assert irregular.min() > np.log10(0.08)


def test_one_early_beat_does_not_make_a_rhythm_irregular():
    times = np.arange(100.0)
    times[50] -= 0.4
    np.testing.assert_allclose(timing(times)["change 10, median"], np.log10(0.005))
    assert timing(times)["change 10, mean"][50] > np.log10(0.05)


@given(st.lists(st.floats(0.3, 2.0), min_size=3, max_size=60), st.floats(0.5, 2.0))
def test_timing_depends_on_the_heart_rate_only_where_it_says_so(intervals, factor):
    times = np.concatenate([[0.0], np.cumsum(intervals)])
    features, scaled = timing(times), timing(times * factor)
    for name in features:
        # Compared with a fixed interval, and so by how much the rate itself differs.
        shift = np.log(factor) if name in AGAINST_A_FIXED_INTERVAL else 0.0
        np.testing.assert_allclose(features[name] + shift, scaled[name], atol=1e-6)


def test_long_intervals_show_early_beats_even_where_most_beats_are_early(rng):
    """Four early beats, then one on time: relative to the median interval none is early."""
    pre = np.tile([0.6, 0.6, 0.6, 0.6, 1.0], 30)
    features, early = timing(np.cumsum(pre)), pre < 0.8
    inner = slice(60, 90)
    assert np.abs(features["pre/usual"][inner][early[inner]]).max() < 0.01
    for name in ("pre/longest", "pre/longest 60", "pre/latest 60"):
        assert features[name][inner][early[inner]].max() < np.log(0.7)
        assert np.abs(features[name][inner][~early[inner]]).max() < 0.01


def test_intervals_are_compared_with_the_upper_part_of_the_whole_recording():
    pre = np.concatenate([np.full(70, 0.6), np.full(20, 0.8), np.full(15, 1.0)])
    features = timing(np.concatenate([[0.0], np.cumsum(pre)]))
    post = np.append(pre, pre[-1])
    pre = np.insert(pre, 0, pre[0])
    np.testing.assert_allclose(features["pre/recording 75"], np.log(pre / 0.8))
    np.testing.assert_allclose(features["post/recording 75"], np.log(post / 0.8))
    np.testing.assert_allclose(features["pre/recording 90"], np.log(pre / 1.0))


@pytest.mark.parametrize("causal", [False, True])
def test_a_fast_rhythm_longer_than_any_neighbourhood_is_visible(causal):
    """Ten minutes at 75 beats a minute, in the middle of which 180 beats come twice as fast."""
    pre = np.full(600, 0.8)
    pre[300:480] = 0.4
    features = {name: values[1:] for name, values in timing(0.8 + np.cumsum(pre), causal).items()}
    inside = slice(430, 440) if causal else slice(380, 400)  # its neighbours are all as fast
    for name in ("pre/local", "pre/around 20", "pre/around 60", "pre/longest", "pre/longest 60"):
        np.testing.assert_allclose(features[name][inside], 0, atol=1e-9, err_msg=name)
    for name in ("pre/recording 75", "pre/recording 90"):
        np.testing.assert_allclose(features[name][inside], np.log(0.5), err_msg=name)
    for name in AGAINST_A_FIXED_INTERVAL:
        np.testing.assert_allclose(features[name][inside], np.log(0.4 / 0.75), err_msg=name)
        np.testing.assert_allclose(features[name][100:110], np.log(0.8 / 0.75), err_msg=name)


@pytest.mark.parametrize("beat", [2, 150, 299])
def test_causal_timing_is_the_same_whatever_comes_after(beat, rng):
    """300 beats: more than the 201 that stand for the whole recording."""
    pre = rng.uniform(0.4, 1.2, 300)
    slower = np.concatenate([pre[:beat], 2 * pre[beat:]])
    features, other = (timing(np.cumsum(intervals), causal=True) for intervals in (pre, slower))
    for name in features:
        # The first beat has no interval before it and takes the next one.
        np.testing.assert_allclose(features[name][1:beat], other[name][1:beat], err_msg=name)


def test_a_wide_qrs_is_recognised_by_its_shape(rng):
    beats = beats_of(61, rng)
    beats[30] = wave(4, 14, -3.0)
    features = shape(beats, np.arange(61.0))
    for name, sign in (("qrs like median", -1), ("qrs rest", 1), ("qrs width", 1)):
        others = np.delete(features[name], 30)
        assert sign * (features[name][30] - np.median(others)) > 10 * others.std(), name
    assert features["qrs like median"][0] == pytest.approx(1, abs=0.01)
    assert features["qrs height"][30] == pytest.approx(0, abs=0.02)


def test_a_beat_without_p_wave_is_recognised_by_its_p_features(rng):
    beats = beats_of(61, rng)
    beats[30] -= wave(-28, 5, 0.2)
    features = shape(beats, np.arange(61.0))
    others = np.delete(features["p like median"], 30)
    assert features["p like median"][30] < 0.5 < 0.9 < others.min()
    assert features["p rest, relative"][30] > 1
    assert features["qrs like median"][30] > 0.99


def test_p_waves_are_similar_in_sinus_rhythm_and_not_in_fibrillation(rng):
    sinus = shape(beats_of(80, rng), np.arange(80.0))["p alike, median"]
    fibrillation = shape(beats_of(80, rng, p=0.0), np.arange(80.0))["p alike, median"]
    assert sinus.min() > 0.9
    assert fibrillation.max() < 0.6


def test_an_early_p_wave_on_a_t_wave_is_found_without_the_t_wave(rng):
    """The beat comes 0.5 s after the last one, whose T wave is in its P window."""
    beats, times = beats_of(61, rng), np.arange(61.0)
    times[30] -= 0.5
    position = np.arange(-45, -12) + 90
    t_wave = beats[29, BEAT_BEFORE:][np.clip(position, 0, BEAT_AFTER - 1)]
    beats[30, 3:36] += np.where(position >= BEAT_AFTER, 0, t_wave)
    features = shape(beats, times)
    assert features["p without t"][30] > features["p like median"][30]


def test_there_is_a_feature_for_each_name_and_its_value_is_limited(rng):
    beats = beats_of(40, rng)
    beats[20] *= 1e6
    features = beat_features(beats, np.cumsum(rng.uniform(0.2, 3.0, 40)))
    assert features.shape == (40, len(FEATURES)) == (40, len(BEAT.features))
    assert np.abs(features).max() == 4


@pytest.mark.parametrize("causal", [False, True])
def test_a_flat_lead_gives_finite_features(causal):
    features = beat_features(np.zeros((5, SAMPLES)), EARLY, causal=causal)
    assert np.isfinite(features).all()


@pytest.mark.parametrize("causal", [False, True])
def test_a_median_beat_that_is_given_changes_no_feature(causal, rng):
    beats, seconds = beats_of(130, rng), np.cumsum(rng.uniform(0.4, 1.2, 130))
    given_median = beat_features(beats, seconds, causal=causal, median=usual_beat(beats, causal))
    np.testing.assert_array_equal(given_median, beat_features(beats, seconds, causal=causal))


@pytest.mark.parametrize("beat", [1, 40, 128])
def test_a_beat_that_does_not_exist_yet_changes_no_causal_feature(beat, rng):
    beats, seconds = beats_of(130, rng), np.cumsum(rng.uniform(0.4, 1.2, 130))
    so_far = beat_features(beats[: beat + 1], seconds[: beat + 1], causal=True)
    found = beat_features(beats, seconds, causal=True)[: beat + 1]
    np.testing.assert_allclose(found, so_far, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("causal", "unchanged"), [(True, True), (False, False)])
def test_causal_features_do_not_depend_on_later_beats(causal, unchanged):
    before = recording(early=(30,))
    signal = before.signal.copy()
    signal[:, round(71.5 * before.fs) :] *= -1
    annotations = recording(early=(30, 80, 90, 91)).annotations
    after = Record(**{**vars(before), "signal": signal, "annotations": annotations})
    make_examples = BeatExampleMaker(causal=causal)
    first_beats = slice(0, 68)  # the two recordings are equal up to here
    features = [make_examples(record).features[first_beats] for record in (before, after)]
    assert np.allclose(*features, atol=2e-2) is unchanged


def test_causal_features_do_not_use_the_next_interval():
    features = BEAT_CAUSAL.make_examples(recording(early=(30,))).features
    for name in ("post/pre", "post/around 20", "pair/around 20", "post surprise", "post/longest"):
        assert not features[:, FEATURES.index(name)].any()
    assert features[29, FEATURES.index("pre/local")] < -1


def test_the_second_channel_is_the_difference_from_the_median_beat():
    examples = BEAT.make_examples(recording(early=(30,)))
    signals = np.stack(examples.signals)
    assert signals.shape == (118, 2, BEAT.samples)
    assert examples.leads == (0, 1)
    median = signals[:, 0] - signals[:, 1]
    np.testing.assert_allclose(median, np.broadcast_to(median[0], median.shape), atol=1e-5)
    assert np.abs(signals[50, 1]).max() < 0.1 * np.abs(signals[50, 0]).max()


@pytest.mark.parametrize("causal", [False, True])
def test_a_sample_of_an_example_is_the_mean_of_two(causal):
    record, make_examples = recording(early=(30,)), BeatExampleMaker(causal=causal)
    beats = make_examples.beats(record, annotated_beats(record.annotations)[0])
    signals = np.stack(make_examples(record).signals)
    pairs = beats.astype(np.float64).reshape(len(beats), -1, 2)
    np.testing.assert_allclose(signals[:, 0], pairs.mean(axis=-1), rtol=1e-6, atol=1e-7)
