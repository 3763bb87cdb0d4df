"""Augmentations keep what they must: missing leads, labels, finite signals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import run_sim
from fl.data.cohort import Batch
from fl.ecg.tasks import BEAT, BEAT7, RHYTHM, TASKS
from fl.training.augmentation import (
    AUGMENTATIONS,
    BLANK,
    DROPPED,
    NOISE,
    SHIFT,
    STRETCH,
    WANDER,
    _add_noise_to_all,
    _add_noise_to_recorded,
    augment_batch,
    check_augmentations,
)
from fl.util.errors import ConfigError
from fl.util.random_streams import stream


def batch(n=12, samples=1000):
    """Random leads recorded, a sine of 8 cycles in each, and some labels not annotated."""
    rng = stream(1, "augment")
    mask = torch.from_numpy((rng.random((n, 12)) < 0.4).astype(np.float32))
    mask[:, 0] = 1
    time = torch.arange(samples) / samples
    wave = torch.sin(2 * torch.pi * 8 * time).expand(n, 12, samples)
    labels = torch.from_numpy(rng.integers(-1, 2, size=(n, 9)).astype(np.float32))
    return Batch(
        signal=wave * mask[:, :, None],
        lead_mask=mask,
        features=torch.zeros(n, 3),
        detector_features=torch.ones(n, 3),
        labels=labels,
    )


@pytest.fixture(params=AUGMENTATIONS)
def name(request):
    return request.param


def changed(name, seed=0):
    task = BEAT7 if name == "crops" else RHYTHM  # crops are of pictures of beats
    return AUGMENTATIONS[name](batch(), task, stream(seed, "change"))


def test_shapes_and_finiteness_stay(name):
    before, after = batch(), changed(name)
    for field in vars(before):
        old, new = getattr(before, field), getattr(after, field)
        assert old.shape == new.shape
        assert old.dtype == new.dtype
        assert new.isfinite().all()


def test_a_missing_lead_stays_zero(name):
    after = changed(name)
    assert not after.signal[after.lead_mask == 0].any()


def test_a_batch_changes_and_the_same_seed_gives_the_same_change(name):
    before, first, again, other = batch(), changed(name), changed(name), changed(name, seed=1)

    def same(a, b):
        return torch.equal(a.signal, b.signal) and torch.equal(a.features, b.features)

    assert same(first, again)
    assert not same(first, before)
    assert not same(first, other)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - {"mixup"}))
def test_labels_stay_as_they_are(name):
    assert torch.equal(changed(name).labels, batch().labels)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - {"mixup", "lead_dropout"}))
def test_the_lead_mask_stays_as_it_is(name):
    assert torch.equal(changed(name).lead_mask, batch().lead_mask)


def test_lead_dropout_keeps_at_least_one_lead_and_adds_none():
    before, after = batch(200), AUGMENTATIONS["lead_dropout"](batch(200), RHYTHM, stream(0, "x"))
    assert (after.lead_mask <= before.lead_mask).all()
    assert after.lead_mask.sum(dim=1).min() == 1
    assert 0.2 < (after.lead_mask.sum(dim=1) < before.lead_mask.sum(dim=1)).float().mean() < 0.6


def test_stretching_changes_the_frequency_of_a_wave():
    signal = changed("stretch").signal[:, 0]
    crossings = ((signal[:, 1:] * signal[:, :-1]) < 0).sum(dim=1)
    assert len(set(crossings.tolist())) > 1
    assert (crossings >= 16 * np.exp(-STRETCH) - 2).all()
    assert (crossings <= 16 * np.exp(STRETCH) + 2).all()


def test_a_blank_is_one_stretch_of_time_of_all_leads():
    before, after = batch(), changed("blank")
    blanked = ((before.signal != after.signal).any(dim=1)).float()
    for row in blanked:
        samples = row.nonzero().flatten()
        assert len(samples) == 0 or samples[-1] - samples[0] < BLANK * 1000 + 1


def test_a_shifted_beat_moves_by_a_few_samples_and_repeats_the_edge():
    before = replace(batch(40, samples=64), signal=torch.arange(64.0).expand(40, 12, 64))
    after = AUGMENTATIONS["shift"](before, BEAT, stream(0, "x")).signal
    moved = (before.signal - after)[:, 0, 32]
    assert set(moved.tolist()) == set(range(-SHIFT, SHIFT + 1))
    for example, by in zip(after, moved.tolist(), strict=True):
        expected = (torch.arange(64.0) - by).clamp(0, 63)
        assert torch.equal(example, expected.expand(12, 64))


def test_a_recording_is_not_shifted_because_crops_move_it_already():
    check_augmentations(["shift"], BEAT)
    with pytest.raises(ConfigError, match="--augment names 'shift', which moves a heartbeat"):
        check_augmentations(["shift"], RHYTHM)


def test_mixup_mixes_a_label_where_both_annotate_it_and_keeps_it_otherwise():
    before, after = batch(), changed("mixup")
    assert torch.equal(after.labels >= 0, before.labels >= 0)
    mixed = (after.labels > 0) & (after.labels < 1)
    assert mixed.any()
    # At least half of each example is its own.
    assert torch.equal(after.labels.clamp(min=0).round(), before.labels.clamp(min=0))


def test_no_names_means_no_change():
    before = batch()
    assert augment_batch(before, RHYTHM, (), stream(0, "none")) is before


def test_the_default_augmentations_of_every_task_are_accepted():
    for task in TASKS.values():
        check_augmentations(task.augment, task)


def test_mixup_is_refused_where_an_example_has_exactly_one_class():
    check_augmentations(("mixup",), RHYTHM)
    with pytest.raises(ConfigError, match=r"names 'mixup'.*beat task.*Accepted.*: lead_dropout"):
        check_augmentations(("gain", "mixup"), BEAT)


def test_an_unknown_augmentation_is_refused_with_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"--augment is 'blur'. Known: blank, crops, detector, feature_noise"
    ):
        check_augmentations(("gain", "blur"), RHYTHM)


def test_the_command_line_refuses_mixup_for_beats_in_one_line(capsys):
    assert run_sim.main(["--task", "beat", "--augment", "gain,mixup"]) == 2
    stderr = capsys.readouterr().err
    assert "--augment names 'mixup'" in stderr
    assert stderr.count("\n") == 1


# As they were when every batch was on the host; results on a CPU may not change by a bit.


def lead_dropout_on_the_host(before, rng):
    mask = before.lead_mask.numpy()
    n, leads = mask.shape
    keep = rng.integers(1, leads + 1, size=n)
    keep[rng.random(n) >= DROPPED] = leads
    rank = np.argsort(np.argsort(rng.random(mask.shape) - mask, axis=1), axis=1)
    kept = torch.from_numpy((mask * (rank < keep[:, None])).astype(np.float32))
    return before.signal * kept[:, :, None]


def wander_on_the_host(before, rng):
    shape = (*before.lead_mask.shape, 1)
    t = np.arange(before.signal.shape[2], dtype=np.float32) / RHYTHM.fs
    cycles = rng.uniform(0.1, 0.6, size=(shape[0], 1, 1)).astype(np.float32) * t
    phase = rng.random(shape, dtype=np.float32)
    height = (WANDER * rng.random(shape, dtype=np.float32)).astype(np.float32)
    added = torch.from_numpy(height * np.sin(2 * np.pi * (cycles + phase)))
    return before.signal + added * before.lead_mask[:, :, None]


@pytest.mark.parametrize("known", [lead_dropout_on_the_host, wander_on_the_host])
@pytest.mark.parametrize("n", [1, 8, 200])
def test_results_on_the_host_do_not_change(known, n):
    change = AUGMENTATIONS[known.__name__.removesuffix("_on_the_host")]
    found = change(batch(n), RHYTHM, stream(n, "host")).signal
    assert torch.equal(found, known(batch(n), stream(n, "host")))


def test_noise_drawn_for_all_leads_reaches_only_the_recorded_ones():
    before = batch(40)
    strengths = torch.linspace(0, NOISE, 40)[:, None].expand_as(before.lead_mask)
    for add_noise in (_add_noise_to_all, _add_noise_to_recorded):
        generator = torch.Generator().manual_seed(1)
        added = add_noise(before, strengths, generator) - before.signal
        spread = added.std(dim=2)
        torch.testing.assert_close(spread, strengths * before.lead_mask, rtol=0.15, atol=1e-6)
