"""How strong each fault of a site's recorder is, on signals that are made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from fl.ecg.records import LEADS
from fl.ecg.tasks import BEAT, RHYTHM
from fl.util.errors import ConfigError
from partitions.device_skew import SiteRecorder, check_skews, recorder_facts, recorder_of

SITES = [f"site-{i}" for i in range(400)]
FAST = replace(RHYTHM, fs=180.0)
NAMES = np.array(["one", "two"])
POSITIONS = np.tile(np.arange(1000), (2, 1))


def recorder(task=RHYTHM, **faults):
    return SiteRecorder(task=task, seed=0, site="site-1", **faults)


@pytest.fixture(scope="module")
def drawn():
    """The recorders of many sites with every fault."""
    return [recorder_of(("noise", "gain", "leads", "rate"), RHYTHM, 0, site) for site in SITES]


@pytest.mark.parametrize(
    ("fault", "least", "most"), [("muscle", 0.05, 0.4), ("hum", 0.05, 0.4), ("rails", 1.5, 4.0)]
)
def test_strengths_fill_their_range(drawn, fault, least, most):
    values = np.array([getattr(one, fault) for one in drawn])
    assert least <= values.min() < least + 0.02 * (most - least)
    assert most - 0.02 * (most - least) < values.max() <= most


@pytest.mark.parametrize(("fault", "decimals"), [("muscle", 3), ("hum", 3), ("rails", 2)])
def test_strengths_are_short_numbers(drawn, fault, decimals):
    values = [getattr(one, fault) for one in drawn]
    assert values == [round(value, decimals) for value in values]
    assert values != [round(value, decimals - 1) for value in values]


def test_mains_and_rates_are_those_that_exist(drawn):
    assert {one.mains for one in drawn} == {50.0, 60.0}
    assert {one.rate for one in drawn} == {25.0, 30.0, 40.0, 50.0}


def test_one_lead_to_half_of_the_leads_are_lost_and_each_may_be(drawn):
    assert {len(one.lost) for one in drawn} == set(range(1, 7))
    assert {lead for one in drawn for lead in one.lost} == set(range(12))
    assert all(list(one.lost) == sorted(set(one.lost)) for one in drawn)


def test_a_recorder_without_faults_changes_nothing(rng):
    signal = rng.standard_normal((2, 12, 1000)).astype(np.float32)
    plain = recorder()
    np.testing.assert_array_equal(plain.record(signal, NAMES, POSITIONS), signal)
    assert plain.facts() == {}
    assert plain.mains == 50.0
    assert recorder(task=FAST, hum=0.1).facts() == {"hum": 0.1, "mains": 50.0}


def test_the_facts_are_the_faults_and_lost_leads_have_their_names():
    facts = recorder(muscle=0.1, rails=2.0, rate=30.0, lost=(0, 6)).facts()
    assert facts == {"muscle": 0.1, "rails": 2.0, "rate": 30.0, "lost": [LEADS[0], LEADS[6]]}
    assert recorder(task=FAST, muscle=0.1).facts() == {"muscle": 0.1}
    assert recorder(task=replace(RHYTHM, fs=120.0), hum=0.1, mains=60.0).facts() == {}
    by_site = recorder_facts(("gain",), RHYTHM, 0, ["a", "b"])
    assert list(by_site) == ["a", "b"]
    assert all(set(faults) == {"rails"} for faults in by_site.values())
    assert recorder_facts((), RHYTHM, 0, ["a", "b"]) == {}


@pytest.mark.parametrize("task", [RHYTHM, FAST])
def test_muscle_noise_has_the_stated_strength_and_little_power_below_20_hz(task):
    # 4096 samples are the whole of the noise, which then repeats.
    positions = np.tile(np.arange(8192), (2, 1))
    noise = recorder(task=task, muscle=0.3)._noise(NAMES, positions)
    np.testing.assert_allclose(noise[..., :4096].std(axis=-1), 0.3, rtol=1e-3)
    np.testing.assert_array_equal(noise[..., :4096], noise[..., 4096:])
    power = np.abs(np.fft.rfft(noise[0, 0, :4096])) ** 2
    hz = np.fft.rfftfreq(4096, 1 / task.fs)
    assert power[hz < 15].sum() < 0.02 * power.sum()
    assert power[(hz > 22) & (hz < 30)].mean() > 0.3 * power[hz > 30].mean()


def test_every_lead_and_every_recording_has_noise_of_its_own():
    noise = recorder(muscle=0.3)._noise(NAMES, POSITIONS).reshape(24, -1)
    assert np.abs(np.corrcoef(noise) - np.eye(24)).max() < 0.3


def test_hum_is_a_sine_of_the_mains_that_all_leads_share():
    hum = recorder(task=FAST, hum=0.4, mains=60.0)._noise(NAMES, POSITIONS)
    np.testing.assert_allclose(hum[..., 3:], hum[..., :-3], atol=1e-4)  # three samples a period
    np.testing.assert_allclose(hum.std(axis=-1), 0.4 / np.sqrt(2), rtol=1e-2)
    np.testing.assert_array_equal(hum, np.broadcast_to(hum[:, :1], hum.shape))
    assert np.abs(hum[0] - hum[1]).max() > 0.01  # each recording begins at its own phase
    phases = recorder(task=FAST, hum=0.4, mains=45.0)._noise(
        np.array([f"R{i}" for i in range(200)]), np.zeros((200, 1), dtype=np.int64)
    )
    assert phases.min() < -0.39
    assert phases.max() > 0.39


def test_noise_is_added_in_proportion_to_the_spread_of_each_lead(rng):
    signal = rng.standard_normal((2, 12, 1000)).astype(np.float32)
    signal *= np.linspace(0.05, 5, 12, dtype=np.float32)[:, None]
    noisy = recorder(task=FAST, muscle=0.3, hum=0.2)
    spread = signal.std(axis=-1, keepdims=True)
    expected = signal + spread * noisy._noise(NAMES, POSITIONS)
    expected *= spread / expected.std(axis=-1, keepdims=True)
    np.testing.assert_allclose(
        noisy.record(signal, NAMES, POSITIONS), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("faults", [{"muscle": 0.3}, {"hum": 0.3}])
def test_either_noise_alone_is_added(faults, rng):
    signal = rng.standard_normal((2, 12, 1000)).astype(np.float32)
    assert (recorder(task=FAST, **faults).record(signal, NAMES, POSITIONS) != signal).any()


def test_waves_taller_than_the_rails_are_clipped_on_both_sides(rng):
    signal = rng.standard_normal((1, 12, 1000)).astype(np.float32)
    spread = signal.std(axis=-1, keepdims=True)
    expected = signal.clip(-1.5 * spread, 1.5 * spread)
    expected *= spread / expected.std(axis=-1, keepdims=True)
    clipped = recorder(rails=1.5).record(signal, NAMES[:1], POSITIONS[:1])
    np.testing.assert_allclose(clipped, expected, rtol=1e-5)


def test_a_slow_recorder_keeps_slow_waves_and_loses_fast_ones():
    seconds = np.arange(1000) / RHYTHM.fs
    slow, fast = (np.sin(2 * np.pi * hz * seconds) for hz in (3, 20))
    signal = np.broadcast_to(slow + fast, (2, 12, 1000)).astype(np.float32)
    recorded = recorder(rate=25.0).record(signal, NAMES, POSITIONS)
    assert recorded.shape == signal.shape
    assert recorded.dtype == np.float32
    middle = slice(100, 900)
    assert np.corrcoef(recorded[0, 0, middle], slow[middle])[0, 1] > 0.99
    np.testing.assert_allclose(recorded.std(axis=-1), signal.std(axis=-1), rtol=1e-4)


def test_lost_leads_are_not_delivered_unless_no_lead_would_be_left():
    recorded = np.zeros((3, 12), dtype=bool)
    recorded[0] = True
    recorded[1, [2, 5]] = True
    recorded[2, [2, 7]] = True
    before = recorded.copy()
    delivered = recorder(lost=(2, 5)).delivered_leads(recorded)
    assert np.flatnonzero(delivered[0]).tolist() == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
    assert np.flatnonzero(delivered[1]).tolist() == [2]
    assert np.flatnonzero(delivered[2]).tolist() == [7]
    np.testing.assert_array_equal(recorded, before)


def test_only_a_task_of_twelve_leads_can_lose_one():
    check_skews(("leads",), RHYTHM)
    check_skews(("noise",), BEAT)
    with pytest.raises(ConfigError, match=r"cannot lose it\. Accepted here: noise, gain, rate\."):
        check_skews(("noise", "leads"), BEAT)
