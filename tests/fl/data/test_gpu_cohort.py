"""A batch made on a device equals the host's to the bit. The device here is the CPU."""

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
def _no_signals_from_other_tests():
    signals_on.cache_clear()


def with_short_recordings(cohort):
    """The cohort as if a third of its recordings were much shorter than a crop."""
    shards = []
    for shard in cohort.shards:
        lengths = shard.lengths.copy()
        lengths[::3] = 7 + np.arange(len(lengths[::3])) * 11 % 600
        shards.append(type(shard)(**(vars(shard) | {"lengths": lengths})))
    return Cohort.of(cohort.task, shards)


def random_crops(cohort, rng, n=64):
    """Examples of every shard, some of them twice, and the start of a random crop of each."""
    examples = rng.integers(0, len(cohort), n)
    return examples, cohort.random_starts(examples, rng)


def assert_same(expected, batch):
    for name, tensor in vars(expected).items():
        other = getattr(batch, name)
        assert other.dtype == tensor.dtype
        assert torch.equal(other.cpu(), tensor), name


@pytest.mark.parametrize("kind", ["two shards", "short recordings", "a part", "joined", "beats"])
def test_a_batch_equals_the_hosts_to_the_bit(cohort, beats, rng, kind):
    rows = rng.permutation(len(cohort))[:90]
    data = {
        "two shards": lambda: cohort,
        "short recordings": lambda: with_short_recordings(cohort),
        "a part": lambda: cohort.take(rows),
        "joined": lambda: Cohort.joined([cohort.take(rows[:40]), cohort.take(rows[40:])]),
        "beats": lambda: beats,
    }[kind]()
    on_device = GpuCohort.of(data, CPU)
    for n in (1, 8, 64):
        crops = random_crops(data, rng, n)
        assert_same(data.batch(*crops), on_device.batch(*crops))


def test_every_even_crop_equals_the_hosts(cohort):
    data = with_short_recordings(cohort)
    crops = data.even_crops(4)
    assert_same(data.batch(*crops), GpuCohort.of(data, CPU).batch(*crops))


def test_a_recording_without_any_lead_is_zero(cohort):
    shard = cohort.shards[0]
    no_leads = np.zeros_like(shard.lead_mask)
    beyond = np.full_like(shard.offsets, len(shard.signals))
    changed = type(shard)(**(vars(shard) | {"lead_mask": no_leads, "offsets": beyond}))
    batch = GpuCohort.of(Cohort.of(cohort.task, [changed]), CPU).batch(
        np.arange(3), np.zeros(3, int)
    )
    assert not batch.signal.any()


def test_masked_classes_are_masked_on_the_device_too(cohort, rng):
    masked = cohort.without_rare(40)
    assert masked.masked_classes
    crops = random_crops(masked, rng)
    assert_same(masked.batch(*crops), GpuCohort.of(masked, CPU).batch(*crops))


def test_cohorts_of_the_same_recordings_share_them(cohort):
    small, large = (GpuCohort.of(cohort.take(np.arange(n)), CPU) for n in (5, 50))
    assert small.signals is large.signals


def test_recordings_are_copied_piece_by_piece(cohort, rng, monkeypatch):
    monkeypatch.setattr(gpu_cohort, "PIECE", 12_345)
    crops = random_crops(cohort, rng)
    assert_same(cohort.batch(*crops), GpuCohort.of(cohort, CPU).batch(*crops))


@pytest.mark.parametrize("kind", ["skewed", "joined and skewed", "in memory"])
def test_batches_that_need_the_host_are_made_there_and_sent(cohort, kind):
    parts = [cohort.take(np.arange(3)), cohort.take(np.arange(3, 6)).recorded_by(Louder(2))]
    in_memory = [type(s)(**(vars(s) | {"path": type(s.path)()})) for s in cohort.shards]
    data = {
        "skewed": parts[1],
        "joined and skewed": Cohort.joined(parts),
        "in memory": Cohort.of(cohort.task, in_memory),
    }[kind]
    assert GpuCohort.of(data, CPU) is None
    # The meta device stores no numbers, only shapes, so the batch was made on the host.
    batch = batch_maker(data, "meta")(np.arange(3), np.zeros(3, int))
    assert {tensor.device.type for tensor in vars(batch).values()} == {"meta"}
    assert batch.signal.shape == (3, 12, 1000)


def test_recordings_that_do_not_fit_stay_on_the_host_with_one_warning(cohort, monkeypatch, caplog):
    monkeypatch.setattr(gpu_cohort, "free_gpu_memory", lambda device: 2**20)
    with caplog.at_level(logging.WARNING, "heartfed"):
        assert [GpuCohort.of(cohort, CPU) for _ in range(3)] == [None] * 3
    (warning,) = caplog.messages
    assert "they may take 50% of the free 1 MiB" in warning
    assert batch_maker(cohort, "meta")(np.arange(2), np.zeros(2, int)).signal.is_meta


def test_a_cpu_reads_from_the_memory_maps(cohort):
    assert batch_maker(cohort, "cpu") == cohort.batch


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_network_that_reads_features_alone_is_sent_no_signals(beats, device, monkeypatch):
    monkeypatch.setattr(GpuCohort, "of", lambda *_: pytest.fail("signals were copied"))
    examples, starts = np.array([5, 3, 5]), np.zeros(3, dtype=np.int64)
    expected = beats.batch(examples, starts)
    batch = batch_maker(beats, device, signals=False)(examples, starts)
    assert batch.signal.shape == (3, 2, 0)
    for name in ("lead_mask", "features", "labels"):
        found = getattr(batch, name)
        assert found.device.type == device
        assert found.shape == getattr(expected, name).shape
        assert device == "meta" or torch.equal(found, getattr(expected, name))


def test_training_and_predictions_are_the_same_to_the_bit(few, monkeypatch):
    # Without crops, which are of pictures of beats.
    plan = replace(PLAN, augment=tuple(name for name in AUGMENTATIONS if name != "crops"))
    ends = []
    for make in (batch_maker, lambda cohort, *_: GpuCohort.of(cohort, CPU).batch):
        monkeypatch.setattr(loop, "batch_maker", make)
        torch.manual_seed(0)
        network = build_network("resnet1d", RHYTHM)
        fitted = fit(network, few, plan)
        results = {"p": predict(network, few), "loss": np.array(fitted.loss_sum)}
        ends.append(get_weights(network) | results)
    for name, values in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], values, err_msg=name)
