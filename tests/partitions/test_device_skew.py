"""A site's recorder changes the same example in the same way every time, as no other site's."""

from dataclasses import replace

import numpy as np
import pytest

from clients.simulated_sites import open_site
from fl.config.run_config import RunConfig
from fl.ecg.tasks import BEAT, RHYTHM
from fl.util.errors import ConfigError
from partitions.device_skew import SKEWS, SiteRecorder, check_skews, recorder_of
from partitions.splits import TEST, TRAIN, VAL
from server.rounds.final_evaluation import server_cohorts

every_skew = pytest.mark.parametrize("skew", SKEWS)
ALL = tuple(SKEWS)


def recorder(**faults):
    return SiteRecorder(task=RHYTHM, seed=0, site="site-1", **faults)


def crops(cohort, examples=(5, 130, 0), start=0):
    starts = np.full(len(examples), start)
    return cohort.batch(np.array(examples), starts).signal.numpy()


def power_above(signal, hz, fs):
    """Share of the power above a frequency."""
    power = np.abs(np.fft.rfft(signal - signal.mean(axis=-1, keepdims=True))) ** 2
    return power[..., np.fft.rfftfreq(signal.shape[-1], 1 / fs) > hz].sum() / power.sum()


@every_skew
def test_an_example_is_recorded_the_same_in_every_batch(cohort, skew):
    first, second = (
        cohort.recorded_by(recorder_of((skew,), RHYTHM, 3, "site-1")) for _ in range(2)
    )
    signal = crops(first, [5, 130, 0])
    assert (signal != crops(cohort, [5, 130, 0])).any()
    np.testing.assert_array_equal(signal, crops(second, [5, 130, 0]))
    np.testing.assert_array_equal(signal[1:], crops(second.take(np.array([130, 0])), [0, 1]))


@every_skew
def test_each_site_and_each_seed_has_a_recorder_of_its_own(skew):
    def facts(seed):
        return [recorder_of((skew,), RHYTHM, seed, f"site-{i}").facts() for i in range(8)]

    assert facts(0) == facts(0)
    assert facts(0) != facts(1)
    assert len({str(faults) for faults in facts(0)}) > 1


def test_one_more_fault_leaves_the_others_as_they_are():
    noisy = recorder_of(("noise",), RHYTHM, 0, "site-1")
    both = recorder_of(("gain", "noise"), RHYTHM, 0, "site-1")
    assert replace(both, rails=0.0) == noisy
    assert recorder_of((), RHYTHM, 0, "site-1") is None


def test_missing_leads_stay_zero_and_others_keep_their_spread(cohort):
    faulty = cohort.recorded_by(recorder(muscle=0.3, hum=0.3, rails=2.0, rate=30.0))
    before, after = crops(cohort), crops(faulty)
    np.testing.assert_allclose(after.std(axis=-1), before.std(axis=-1), rtol=1e-4)
    assert (after[before.std(axis=-1) == 0] == 0).all()


def test_noise_is_the_same_at_a_position_wherever_the_crop_begins(cohort):
    long = np.flatnonzero(cohort.lengths >= 1100)[:1]
    noisy = recorder(muscle=0.3)
    positions = np.arange(1000)[None]
    early, late = (noisy._noise(cohort.names[long], positions + start) for start in (0, 100))
    np.testing.assert_array_equal(early[..., 100:], late[..., :-100])


def test_hum_is_present_only_where_the_task_keeps_its_frequency(cohort, beats):
    humming = cohort.recorded_by(recorder(hum=0.4))
    np.testing.assert_allclose(crops(humming), crops(cohort), rtol=1e-5)
    assert recorder(hum=0.4).facts() == {}
    fast = replace(BEAT, fs=180.0)
    fast_recorder = SiteRecorder(task=fast, seed=0, site="site-1", hum=0.4, mains=60.0)
    assert fast_recorder.facts() == {"hum": 0.4, "mains": 60.0}
    clean = power_above(crops(beats, [0, 1]), 50, fast.fs)
    hum = power_above(crops(beats.recorded_by(fast_recorder), [0, 1]), 50, fast.fs)
    assert hum > clean + 0.02


def test_a_slow_recorder_has_no_power_above_half_its_rate(cohort):
    slow = crops(cohort.recorded_by(recorder(rate=25.0)))
    assert power_above(slow, 15, RHYTHM.fs) < 0.2 * power_above(crops(cohort), 15, RHYTHM.fs)


def test_a_saturated_amplifier_clips_tall_waves(cohort):
    before, after = crops(cohort), crops(cohort.recorded_by(recorder(rails=1.5)))
    assert np.abs(after).max() < np.abs(before).max()
    assert (np.diff(after[0, 1]) == 0).sum() > (np.diff(before[0, 1]) == 0).sum()


def test_lost_leads_are_zero_and_masked_but_every_example_keeps_one(cohort):
    lost = (0, 1, 6)  # I, II and V1: a two-lead Holter has only II and V1
    faulty = cohort.recorded_by(recorder(lost=lost))
    twelve, two = cohort.lead_mask.sum(axis=1) == 12, cohort.lead_mask.sum(axis=1) == 2
    assert twelve.any()
    assert two.any()
    assert not faulty.lead_mask[twelve][:, lost].any()
    assert (faulty.lead_mask[twelve].sum(axis=1) == 9).all()
    assert (faulty.lead_mask[two].sum(axis=1) == 1).all()
    examples = np.array([0, 150])
    batch = faulty.batch(examples, np.zeros(2, dtype=np.int64))
    np.testing.assert_array_equal(batch.lead_mask, faulty.lead_mask[examples])
    kept = batch.lead_mask.numpy()[:, :, None] * crops(cohort, examples)
    np.testing.assert_array_equal(batch.signal, kept)


def test_a_site_records_every_split_and_the_server_no_record(make_job):
    plain, skewed = make_job(2, "plain"), make_job(2, "skewed", skew="noise")
    for split in (TRAIN, VAL, TEST):
        sites = {str(open_site(skewed, i).splits[split].recorder.site) for i in range(2)}
        assert sites == {"site-1", "site-2"}
        assert open_site(plain, 0).splits[split].recorder is None
    assert all(cohort.recorder is None for cohort in server_cohorts(skewed).values())


def test_names_of_skews_are_checked():
    check_skews(RunConfig(skew="noise,leads").skews, RHYTHM)
    assert RunConfig().skews == ()
    with pytest.raises(ConfigError, match=r"--skew is 'hum'\. Known: gain, leads, noise, rate"):
        check_skews(("noise", "hum"), RHYTHM)
    with pytest.raises(ConfigError, match="the beat task reads one lead"):
        check_skews(("leads",), BEAT)
