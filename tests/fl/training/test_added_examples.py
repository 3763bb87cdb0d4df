"""Interpolated beats and simulated recordings: where they lie, whose they are, what they count."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import run_sim
from fl.data.cohort import Cohort
from fl.ecg.tasks import BEAT, BEAT_CAUSAL, RHYTHM
from fl.models import build_network
from fl.training import interpolated_beats as smote
from fl.training.added_examples import with_added_examples
from fl.training.class_imbalance import added_log_odds, epoch_order
from fl.training.loop import TrainingPlan, fit
from fl.training.simulated_recordings import (
    check_simulated,
    rare_class_counts,
    simulated_as,
    simulated_recordings,
)
from fl.util.errors import ConfigError

PLAN = TrainingPlan(
    seed=0, site="a", round=1, rounds=1, epochs=1, batch_size=16, lr=2e-3, weight_decay=0.01
)


def added(cohort, *, imbalance="none", simulated=0, seed=0, site="a"):
    return with_added_examples(
        cohort, seed=seed, site=site, imbalance=imbalance, simulated=simulated
    )


def counts(cohort):
    return np.bincount(cohort.labels.argmax(axis=1), minlength=5)


def values(cohort, rows):
    batch = cohort.batch(rows, np.zeros(len(rows), dtype=np.int64))
    return batch.features.numpy(), batch.signal.flatten(1).numpy()


@pytest.fixture
def site(beats):
    """60 beats called N, 7 called S, 20 V and one F, of several patients."""
    (shard,) = beats.shards
    rows = np.linspace(0, len(beats) // 2, 88).astype(np.int64)
    labels = shard.labels.copy()
    labels[rows] = np.eye(5, dtype=np.int8)[np.repeat(range(4), (60, 7, 20, 1))]
    return Cohort.of(beats.task, [replace(shard, labels=labels)]).take(rows)


def test_a_rarer_class_becomes_as_frequent_but_at_most_ten_times_its_number(site):
    assert counts(site).tolist() == [60, 7, 20, 1, 0]
    assert counts(added(site, imbalance="smote")).tolist() == [60, 60, 60, 1, 0]
    fewer = site.take(np.r_[0:62, 67:87])  # two S beats
    assert counts(added(fewer, imbalance="smote")).tolist() == [60, 20, 60, 0, 0]
    one = site.take(np.r_[0:61, 67:87])  # one S beat, which has no neighbour
    assert counts(added(one, imbalance="smote")).tolist() == [60, 1, 60, 0, 0]


def test_a_new_beat_lies_between_two_of_its_class_in_features_and_signal_alike(site):
    more = added(site, imbalance="smote")
    for label in (1, 2):
        own = np.flatnonzero(site.labels[:, label] == 1)
        new = np.flatnonzero(more.labels[:, label] == 1)
        new = new[new >= len(site)]
        (features, signals), (made, drawn) = values(site, own), values(more, new)
        for x, signal in zip(made, drawn, strict=True):
            # x = a + share * (b - a): find the pair and the share, then check the signal.
            fits = [
                (np.abs(features[a] + s * (features[b] - features[a]) - x).max(), a, b, s)
                for a in range(len(own))
                for b in range(len(own))
                if a != b
                for s in [share_of(features[a], features[b], x)]
            ]
            error, a, b, s = min(fits)
            assert error < 1e-4
            assert 0 <= s <= 1
            between = signals[a] + s * (signals[b] - signals[a])
            np.testing.assert_allclose(signal, between, atol=5e-3)  # stored as float16


def share_of(a, b, x):
    way = b - a
    return float(np.clip((x - a) @ way / max(way @ way, 1e-12), 0, 1))


def test_a_new_beat_is_of_a_patient_and_a_source_of_the_site_and_never_of_another_site(beats, site):
    more = added(site, imbalance="smote")
    assert set(more.patients.tolist()) == set(site.patients.tolist())
    assert set(more.sources.tolist()) == set(site.sources.tolist())
    elsewhere = beats.take(np.flatnonzero(~np.isin(beats.patients, site.patients)))
    assert len(elsewhere)
    joined = np.concatenate([site.row, elsewhere.row])
    other = Cohort(site.task, site.shards, np.zeros(len(joined), dtype=np.int64), joined)
    # The same site beside another one: its new beats do not depend on the other's.
    again = added(other.take(np.arange(len(site))), imbalance="smote")
    assert np.array_equal(again.features, more.features)


def test_the_same_seed_gives_the_same_beats_and_another_seed_or_site_others(site):
    first = added(site, imbalance="smote").features
    assert np.array_equal(added(site, imbalance="smote").features, first)
    assert not np.array_equal(added(site, imbalance="smote", seed=1).features, first)
    assert not np.array_equal(added(site, imbalance="smote", site="b").features, first)


def test_new_beats_are_made_of_what_the_sites_recorder_delivers(site):
    class Doubling:
        def delivered_leads(self, recorded):
            return recorded

        def record(self, signal, names, positions):
            return 2 * signal

    plain = added(site, imbalance="smote")
    doubled = added(site.recorded_by(Doubling()), imbalance="smote")
    rows = np.arange(len(plain))
    np.testing.assert_allclose(values(doubled, rows)[1], 2 * values(plain, rows)[1], atol=2e-2)
    two = Cohort.joined([site.recorded_by(Doubling()), site.recorded_by(None)])
    signals = values(added(two, simulated=2), np.arange(2 * len(site)))[1]
    np.testing.assert_array_equal(signals[: len(site)], 2 * signals[len(site) :])


def test_the_loss_takes_back_what_new_beats_change_in_the_odds(site):
    more = added(site, imbalance="smote")
    odds = added_log_odds(more, "smote", 0, len(site)).exp()
    assert odds.tolist() == pytest.approx([1, 60 / 7, 3, 1, 1])


def test_a_task_or_network_that_smote_does_not_suit_is_refused_in_one_line(capsys):
    beats_alone = "--imbalance is 'smote', which finds neighbours by the features of heartbeats"
    with pytest.raises(ConfigError, match=beats_alone):
        smote.check_smote(RHYTHM, 1)
    assert run_sim.main(["--task", "beat", "--model", "beat_gru", "--imbalance", "smote"]) == 2
    assert "an interpolated beat has no place in it" in capsys.readouterr().err


def test_without_imbalanced_learn_smote_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(smote, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'heartfed\[smote\]'"):
        smote.check_smote(BEAT, 1)


def test_simulated_recordings_go_to_the_classes_with_the_fewest_patients(site):
    have = site.count_patients(site.labels == 1)
    made = rare_class_counts(site, 20)
    assert sum(made.values()) == 20
    assert set(made) <= {"S", "V"}
    assert abs((have[1] + made.get("S", 0)) - (have[2] + made.get("V", 0))) <= 1


def test_simulated_beats_come_after_the_sites_own_and_are_called_simulated(site):
    more = added(site, simulated=3, site="site-7")
    assert np.array_equal(more.names[: len(site)], site.names)
    new = more.take(np.arange(len(site), len(more)))
    assert set(new.sources.tolist()) == {"simulated-site-7"}
    assert len(set(new.patients.tolist())) == 3
    assert not set(new.patients.tolist()) & set(site.patients.tolist())
    assert counts(new)[1] + counts(new)[2] >= 3
    same = added(site, simulated=3, site="site-7")
    starts = np.zeros(len(more), dtype=np.int64)
    rows = np.arange(len(more))
    assert torch.equal(more.batch(rows, starts).signal, same.batch(rows, starts).signal)
    (other,) = simulated_recordings(site, 3, 0, "site-8")
    assert not np.array_equal(other.signals[:500], more.shards[-1].signals[:500])


def test_a_simulated_recording_has_the_leads_and_the_classes_of_the_site_alone(cohort):
    two_leads = cohort.take(np.flatnonzero(cohort.sources == "synthetic-2lead"))
    open_class = replace(two_leads, masked_classes=(7,))
    (shard,) = simulated_recordings(open_class, 8, 0, "a")
    assert (shard.lead_mask.sum(axis=1) == 2).all()
    assert (shard.labels[:, 7] == -1).all()
    assert (np.delete(shard.labels, 7, axis=1).sum(axis=1) == 1).all()
    assert "STD" not in rare_class_counts(open_class, 50)
    assert "NSR" not in simulated_as(RHYTHM)


def test_the_beats_of_a_causal_task_are_simulated_and_a_task_without_such_classes_is_refused():
    check_simulated(5, BEAT_CAUSAL)
    check_simulated(0, replace(BEAT, trainable=("N", "Q")))
    with pytest.raises(ConfigError, match="--simulated-rare is 5, but the simulator has no class"):
        check_simulated(5, replace(BEAT, trainable=("N", "Q")))


def test_a_site_without_training_examples_gets_none(beats):
    empty = beats.take(np.zeros(0, dtype=np.int64))
    assert added(empty, imbalance="smote", simulated=4) is empty


@pytest.mark.parametrize("imbalance", ["none", "smote", "oversampled", "thinned"])
def test_training_with_added_examples_is_the_same_each_time(site, imbalance):
    plan = replace(PLAN, imbalance=imbalance, simulated=2)

    def trained():
        torch.manual_seed(0)
        network = build_network("beat_cnn", BEAT)
        fit(network, site, plan)
        return network.state_dict()

    one, two = trained(), trained()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_epoch_of_the_extended_cohort_has_the_simulated_recordings(few, rng):
    more = added(few, simulated=6)
    assert len(more) == len(few) + 6
    assert (epoch_order(more, "none", 0, rng) >= len(few)).sum() == 6
    odds = added_log_odds(more, "none", 0, len(few))
    assert (odds[[RHYTHM.classes.index(c) for c in rare_class_counts(few, 6)]] > 0).all()
    assert added_log_odds(few, "none") is None
