"""A site's device makes the same of the same example every time, and of nobody else's."""

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


def device(**faults):
    return SiteRecorder(task=RHYTHM, seed=0, site="site-1", **faults)


def crops(cohort, chosen=(5, 130, 0), start=0):
    starts = np.full(len(chosen), start)
    return cohort.batch(np.array(chosen), starts).signal.numpy()


def power_above(signal, hz, fs):
    """Share of the power above a frequency."""
    power = np.abs(np.fft.rfft(signal - signal.mean(axis=-1, keepdims=True))) ** 2
    return power[..., np.fft.rfftfreq(signal.shape[-1], 1 / fs) > hz].sum() / power.sum()


@every_skew
def test_the_same_example_comes_out_alike_whatever_it_is_cut_with(cohort, skew):
    seen = [cohort.through(recorder_of((skew,), RHYTHM, 3, "site-1")) for _ in range(2)]
    whole = crops(seen[0], [5, 130, 0])
    assert (whole != crops(cohort, [5, 130, 0])).any()
    np.testing.assert_array_equal(whole, crops(seen[1], [5, 130, 0]))
    np.testing.assert_array_equal(whole[1:], crops(seen[1].take(np.array([130, 0])), [0, 1]))


@every_skew
def test_each_site_and_each_seed_has_a_device_of_its_own(skew):
    def facts(seed):
        return [recorder_of((skew,), RHYTHM, seed, f"site-{i}").facts() for i in range(8)]

    assert facts(0) == facts(0)
    assert facts(0) != facts(1)
    assert len({str(said) for said in facts(0)}) > 1


def test_another_fault_leaves_the_others_as_they_are():
    one = recorder_of(("noise",), RHYTHM, 0, "site-1")
    both = recorder_of(("gain", "noise"), RHYTHM, 0, "site-1")
    assert replace(both, rails=0.0) == one
    assert recorder_of((), RHYTHM, 0, "site-1") is None


def test_missing_leads_stay_zero_and_others_keep_their_spread(cohort):
    made = cohort.through(device(muscle=0.3, hum=0.3, rails=2.0, rate=30.0))
    before, after = crops(cohort), crops(made)
    np.testing.assert_allclose(after.std(axis=-1), before.std(axis=-1), rtol=1e-4)
    assert (after[before.std(axis=-1) == 0] == 0).all()


def test_noise_lies_at_the_same_place_of_an_example_wherever_the_crop_begins(cohort):
    long = np.flatnonzero(cohort.lengths >= 1100)[:1]
    made = device(muscle=0.3)
    at = np.arange(1000)[None]
    one, later = (made._noise(cohort.names[long], at + start) for start in (0, 100))
    np.testing.assert_array_equal(one[..., 100:], later[..., :-100])


def test_hum_is_heard_only_where_the_task_keeps_its_frequency(cohort, beats):
    np.testing.assert_allclose(crops(cohort.through(device(hum=0.4))), crops(cohort), rtol=1e-5)
    assert device(hum=0.4).facts() == {}
    fast = replace(BEAT, fs=180.0)
    made = SiteRecorder(task=fast, seed=0, site="site-1", hum=0.4, mains=60.0)
    assert made.facts() == {"hum": 0.4, "mains": 60.0}
    clean = power_above(crops(beats, [0, 1]), 50, fast.fs)
    assert power_above(crops(beats.through(made), [0, 1]), 50, fast.fs) > clean + 0.02


def test_a_slow_recorder_has_no_power_above_half_its_rate(cohort):
    slow = crops(cohort.through(device(rate=25.0)))
    assert power_above(slow, 15, RHYTHM.fs) < 0.2 * power_above(crops(cohort), 15, RHYTHM.fs)


def test_a_saturated_amplifier_cuts_tall_waves(cohort):
    before, after = crops(cohort), crops(cohort.through(device(rails=1.5)))
    assert np.abs(after).max() < np.abs(before).max()
    assert (np.diff(after[0, 1]) == 0).sum() > (np.diff(before[0, 1]) == 0).sum()


def test_lost_leads_are_zero_and_marked_and_somebody_always_keeps_one(cohort):
    lost = (0, 1, 6)  # I, II and V1: a two-lead Holter has II and V1 alone
    made = cohort.through(device(lost=lost))
    twelve, two = cohort.lead_mask.sum(axis=1) == 12, cohort.lead_mask.sum(axis=1) == 2
    assert twelve.any()
    assert two.any()
    assert not made.lead_mask[twelve][:, lost].any()
    assert (made.lead_mask[twelve].sum(axis=1) == 9).all()
    assert (made.lead_mask[two].sum(axis=1) == 1).all()
    chosen = np.array([0, 150])
    batch = made.batch(chosen, np.zeros(2, dtype=np.int64))
    np.testing.assert_array_equal(batch.lead_mask, made.lead_mask[chosen])
    kept = batch.lead_mask.numpy()[:, :, None] * crops(cohort, chosen)
    np.testing.assert_array_equal(batch.signal, kept)


def test_every_split_of_a_site_and_no_central_record_passes_through_its_device(make_job):
    plain, skewed = make_job(2, "plain"), make_job(2, "skewed", skew="noise")
    for split in (TRAIN, VAL, TEST):
        here = {str(open_site(skewed, i).splits[split].device.site) for i in range(2)}
        assert here == {"site-1", "site-2"}
        assert open_site(plain, 0).splits[split].device is None
    assert all(cohort.device is None for cohort in server_cohorts(skewed).values())


def test_names_are_checked():
    check_skews(RunConfig(skew="noise,leads").skews, RHYTHM)
    assert RunConfig().skews == ()
    with pytest.raises(ConfigError, match=r"--skew is 'hum'\. Known: gain, leads, noise, rate"):
        check_skews(("noise", "hum"), RHYTHM)
    with pytest.raises(ConfigError, match="the beat task reads one lead"):
        check_skews(("leads",), BEAT)
