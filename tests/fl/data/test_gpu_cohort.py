"""A batch cut on a device is the host's to the bit. The device here is the CPU: same code."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.plans import PLAN
from support.recorders import Louder

from fl.data import gpu_cohort
from fl.data.cohort import Cohort
from fl.data.gpu_cohort import GpuCohort, batch_maker, signals_on
from fl.ecg.tasks import RHYTHM
from fl.models import build_network
from fl.training import loop
from fl.training.augmentation import AUGMENTATIONS
from fl.training.loop import fit, predict
from fl.training.state_dict import get_weights

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _nothing_is_there_before():
    signals_on.cache_clear()


def ragged(cohort):
    """The cohort as if a third of its recordings were much shorter than a crop."""
    shards = []
    for shard in cohort.shards:
        lengths = shard.lengths.copy()
        lengths[::3] = 7 + np.arange(len(lengths[::3])) * 11 % 600
        shards.append(type(shard)(**(vars(shard) | {"lengths": lengths})))
    return Cohort.of(cohort.task, shards)


def some(cohort, rng, n=64):
    """Examples of every shard, some of them twice, and a random crop of each."""
    chosen = rng.integers(0, len(cohort), n)
    return chosen, cohort.random_starts(chosen, rng)


def assert_same(one, other):
    for name, tensor in vars(one).items():
        found = getattr(other, name)
        assert found.dtype == tensor.dtype
        assert torch.equal(found.cpu(), tensor), name


@pytest.mark.parametrize("kind", ["two shards", "ragged", "a part", "joined", "beats"])
def test_a_batch_is_the_hosts_to_the_bit(cohort, beats, rng, kind):
    rows = rng.permutation(len(cohort))[:90]
    made = {
        "two shards": lambda: cohort,
        "ragged": lambda: ragged(cohort),
        "a part": lambda: cohort.take(rows),
        "joined": lambda: Cohort.joined([cohort.take(rows[:40]), cohort.take(rows[40:])]),
        "beats": lambda: beats,
    }[kind]()
    there = GpuCohort.of(made, CPU)
    for n in (1, 8, 64):
        chosen, starts = some(made, rng, n)
        assert_same(made.batch(chosen, starts), there.batch(chosen, starts))


def test_every_even_crop_is_the_hosts(cohort):
    made = ragged(cohort)
    crops = made.even_crops(4)
    assert_same(made.batch(*crops), GpuCohort.of(made, CPU).batch(*crops))


def test_a_recording_without_any_lead_is_silent(cohort):
    shard = cohort.shards[0]
    none = np.zeros_like(shard.lead_mask)
    beyond = np.full_like(shard.offsets, len(shard.signals))
    changed = type(shard)(**(vars(shard) | {"lead_mask": none, "offsets": beyond}))
    batch = GpuCohort.of(Cohort.of(cohort.task, [changed]), CPU).batch(
        np.arange(3), np.zeros(3, int)
    )
    assert not batch.signal.any()


def test_classes_that_count_as_not_annotated_do_there_too(cohort, rng):
    hidden = cohort.without_rare(40)
    assert hidden.hidden
    chosen = some(hidden, rng)
    assert_same(hidden.batch(*chosen), GpuCohort.of(hidden, CPU).batch(*chosen))


def test_cohorts_of_the_same_recordings_share_them(cohort):
    one, other = (GpuCohort.of(cohort.take(np.arange(n)), CPU) for n in (5, 50))
    assert one.signals is other.signals


def test_recordings_are_copied_piece_by_piece(cohort, rng, monkeypatch):
    monkeypatch.setattr(gpu_cohort, "PIECE", 12_345)
    chosen = some(cohort, rng)
    assert_same(cohort.batch(*chosen), GpuCohort.of(cohort, CPU).batch(*chosen))


@pytest.mark.parametrize("kind", ["skewed", "joined and skewed", "in memory"])
def test_what_needs_the_host_is_cut_there_and_sent(cohort, kind):
    parts = [cohort.take(np.arange(3)), cohort.take(np.arange(3, 6)).through(Louder(2))]
    nowhere = [type(s)(**(vars(s) | {"path": type(s.path)()})) for s in cohort.shards]
    made = {
        "skewed": parts[1],
        "joined and skewed": Cohort.joined(parts),
        "in memory": Cohort.of(cohort.task, nowhere),
    }[kind]
    assert GpuCohort.of(made, CPU) is None
    # The meta device holds no numbers: what is there was sent, and only its shape can be seen.
    batch = batch_maker(made, "meta")(np.arange(3), np.zeros(3, int))
    assert {tensor.device.type for tensor in vars(batch).values()} == {"meta"}
    assert batch.signal.shape == (3, 12, 1000)


def test_recordings_that_do_not_fit_stay_on_the_host_and_that_is_said_once(
    cohort, monkeypatch, caplog
):
    monkeypatch.setattr(gpu_cohort, "free_gpu_memory", lambda device: 2**20)
    with caplog.at_level(logging.WARNING, "heartfed"):
        assert [GpuCohort.of(cohort, CPU) for _ in range(3)] == [None] * 3
    (said,) = caplog.messages
    assert "1 are left, of which 50% may be theirs" in said
    assert batch_maker(cohort, "meta")(np.arange(2), np.zeros(2, int)).signal.is_meta


def test_a_cpu_cuts_from_the_memory_maps(cohort):
    assert batch_maker(cohort, "cpu") == cohort.batch


def test_training_and_predictions_are_the_same_to_the_bit(few, monkeypatch):
    plan = replace(PLAN, augment=tuple(AUGMENTATIONS))
    ends = []
    for cut in (batch_maker, lambda cohort, _: GpuCohort.of(cohort, CPU).batch):
        monkeypatch.setattr(loop, "batch_maker", cut)
        torch.manual_seed(0)
        network = build_network("resnet1d", RHYTHM)
        fitted = fit(network, few, plan)
        told = {"p": predict(network, few), "loss": np.array(fitted.loss_sum)}
        ends.append(get_weights(network) | told)
    for name, values in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], values, err_msg=name)
