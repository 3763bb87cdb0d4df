"""Augmentations keep what they must: missing leads, labels, finite signals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import run_sim
from fl.data.cohort import Batch
from fl.ecg.tasks import BEAT, BEAT7, RHYTHM_SIGNAL, TASKS
from fl.training.augmentation import (
    AUGMENTATIONS,
    BLANK,
    DROPPED,
    MIXED,
    NOISE,
    SHIFT,
    STRETCH,
    WANDER,
    _add_noise_to_all,
    _add_noise_to_recorded,
    augment_batch,
    check_augmentations,
)
from fl.training.losses import task_loss
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
    task = BEAT7 if name == "crops" else RHYTHM_SIGNAL  # crops are of pictures of beats
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
    before, after = (
        batch(200),
        AUGMENTATIONS["lead_dropout"](batch(200), RHYTHM_SIGNAL, stream(0, "x")),
    )
    assert (after.lead_mask <= before.lead_mask).all()
    assert after.lead_mask.sum(dim=1).min() == 1
    assert 0.2 < (after.lead_mask.sum(dim=1) < before.lead_mask.sum(dim=1)).float().mean() < 0.6


def test_stretching_changes_the_frequency_of_a_wave():
    signal = changed("stretch").signal[:, 0]
    crossings = ((signal[:, 1:] * signal[:, :-1]) < 0).sum(dim=1)
    assert len(set(crossings.tolist())) > 1
    assert (crossings >= 16 * np.exp(-STRETCH) - 2).all()
    assert (crossings <= 16 * np.exp(STRETCH) + 2).all()


def heartbeats(n=40, rr=80):
    """A narrow QRS complex every 0.8 s and a slow T wave after each, in two leads."""
    since = (torch.arange(1000) + 40) % rr - 40.0
    wave = torch.exp(-((since / 4) ** 2)) + 0.2 * torch.exp(-(((since - 25) / 9) ** 2))
    before = batch(n)
    mask = torch.zeros_like(before.lead_mask)
    mask[:, :2] = 1
    return replace(before, signal=wave * mask[:, :, None], lead_mask=mask)


def rr_and_qrs(signal):
    """Mean time between QRS complexes, and their mean width at half their height, in samples."""
    height = signal.double().numpy() - 0.5
    before = np.flatnonzero((height[:-1] < 0) != (height[1:] < 0))
    exact = before + height[before] / (height[before] - height[before + 1])
    exact = exact[int(height[before[0]] > 0) :]  # the first QRS that begins in the crop is whole
    up, down = exact[::2], exact[1::2]
    return np.diff(up)[2:-2].mean(), (down - up[: len(down)])[2:-2].mean()


def test_stretched_beats_come_faster_or_slower_with_qrs_as_wide_as_before():
    before = heartbeats()
    plain = rr_and_qrs(before.signal[0, 0])
    after = AUGMENTATIONS["beat_stretch"](before, RHYTHM_SIGNAL, stream(3, "beats"))
    found = np.array([rr_and_qrs(signal[0]) for signal in after.signal])
    rr, qrs = found[:, 0] / plain[0], found[:, 1] / plain[1]
    assert rr.min() < np.exp(-STRETCH / 2)
    assert rr.max() > np.exp(STRETCH / 2)
    assert (np.abs(np.log(rr)) < STRETCH).all()
    assert np.abs(qrs - 1).max() < 0.05
    wider = AUGMENTATIONS["stretch"](before, RHYTHM_SIGNAL, stream(3, "beats"))
    assert np.std([rr_and_qrs(signal[0])[1] for signal in wider.signal]) > 0.05 * plain[1]
    torch.testing.assert_close(after.signal[:, 0], after.signal[:, 1])  # all leads alike


def test_a_flat_crop_stays_flat_when_its_beats_are_stretched():
    before = replace(batch(3), signal=torch.zeros(3, 12, 1000))
    after = AUGMENTATIONS["beat_stretch"](before, RHYTHM_SIGNAL, stream(0, "flat"))
    assert torch.equal(after.signal, before.signal)


@pytest.mark.parametrize("task", ["beat", "beat7", "mi"])
def test_one_heartbeat_has_no_time_between_heartbeats_to_stretch(task):
    with pytest.raises(ConfigError, match="--augment names 'beat_stretch', which"):
        check_augmentations(["beat_stretch"], TASKS[task])


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
        check_augmentations(["shift"], RHYTHM_SIGNAL)


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_mixup_knows_a_label_only_where_both_examples_do(seed, n):
    rng = stream(seed, "labels")
    labels = torch.from_numpy(rng.integers(-1, 2, size=(n, 9)).astype(np.float32))
    features = torch.from_numpy(rng.normal(size=(n, 3)).astype(np.float32))
    before = replace(batch(n, samples=20), labels=labels, features=features)
    after = AUGMENTATIONS["mixup"](before, RHYTHM_SIGNAL, stream(seed, "mixup"))
    again = stream(seed, "mixup")
    drawn, other = again.beta(MIXED, MIXED, size=n), again.permutation(n)
    own = torch.from_numpy(np.maximum(drawn, 1 - drawn).astype(np.float32))[:, None]
    both = (labels >= 0) & (labels[other] >= 0)
    assert (after.labels[~both] == -1).all()
    mixed = own * labels + (1 - own) * labels[other]
    torch.testing.assert_close(after.labels[both], mixed[both])
    assert ((mixed[both] >= 0) & (mixed[both] < 1.000001)).all()  # of two ones, up to rounding
    # At least half of each example is its own.
    assert ((mixed - labels)[both].abs() < 0.500001).all()
    torch.testing.assert_close(after.features, own * features + (1 - own) * features[other])
    assert torch.equal(after.lead_mask > 0, (before.lead_mask + before.lead_mask[other]) > 0)


def test_a_mixture_with_no_class_in_common_adds_no_loss():
    labels = torch.full((2, 9), -1.0)
    labels[0, :4], labels[1, 4:] = 1.0, 0.0
    before = replace(batch(2), labels=labels)
    drawn = [
        AUGMENTATIONS["mixup"](before, RHYTHM_SIGNAL, stream(n, "mixup")).labels for n in range(20)
    ]
    unknown = [mixed for mixed in drawn if (mixed == -1).all()]
    assert 0 < len(unknown) < 20, "an example may also be mixed with itself"
    assert task_loss(RHYTHM_SIGNAL, torch.ones(2, 9), unknown[0]) == 0


def test_no_names_means_no_change():
    before = batch()
    assert augment_batch(before, RHYTHM_SIGNAL, (), stream(0, "none")) is before


def test_the_default_augmentations_of_every_task_are_accepted():
    for task in TASKS.values():
        check_augmentations(task.augment, task)


def test_mixup_is_refused_where_an_example_has_exactly_one_class():
    check_augmentations(("mixup",), RHYTHM_SIGNAL)
    with pytest.raises(ConfigError, match=r"names 'mixup'.*beat task.*Accepted.*: lead_dropout"):
        check_augmentations(("gain", "mixup"), BEAT)


def test_an_unknown_augmentation_is_refused_with_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"--augment is 'blur'. Known: beat_stretch, blank, crops, detector"
    ):
        check_augmentations(("gain", "blur"), RHYTHM_SIGNAL)


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
    t = np.arange(before.signal.shape[2], dtype=np.float32) / RHYTHM_SIGNAL.fs
    cycles = rng.uniform(0.1, 0.6, size=(shape[0], 1, 1)).astype(np.float32) * t
    phase = rng.random(shape, dtype=np.float32)
    height = (WANDER * rng.random(shape, dtype=np.float32)).astype(np.float32)
    added = torch.from_numpy(height * np.sin(2 * np.pi * (cycles + phase)))
    return before.signal + added * before.lead_mask[:, :, None]


def stretch_on_the_host(before, rng):
    n, _, samples = before.signal.shape
    rate = np.exp(rng.uniform(-STRETCH, STRETCH, size=(n, 1)))
    middle = (samples - 1) / 2
    position = np.abs(middle + (np.arange(samples) - middle) * rate)
    position = (samples - 1) - np.abs((samples - 1) - position)
    left = np.clip(position.astype(np.int64), 0, samples - 2)
    share = torch.from_numpy((position - left).astype(np.float32))[:, None, :]
    index = torch.from_numpy(left)[:, None, :].expand_as(before.signal)
    first, second = before.signal.gather(2, index), before.signal.gather(2, index + 1)
    return first + share * (second - first)


@pytest.mark.parametrize(
    "known", [lead_dropout_on_the_host, stretch_on_the_host, wander_on_the_host]
)
@pytest.mark.parametrize("n", [1, 8, 200])
def test_results_on_the_host_do_not_change(known, n):
    change = AUGMENTATIONS[known.__name__.removesuffix("_on_the_host")]
    found = change(batch(n), RHYTHM_SIGNAL, stream(n, "host")).signal
    assert torch.equal(found, known(batch(n), stream(n, "host")))


def test_noise_drawn_for_all_leads_reaches_only_the_recorded_ones():
    before = batch(40)
    strengths = torch.linspace(0, NOISE, 40)[:, None].expand_as(before.lead_mask)
    for add_noise in (_add_noise_to_all, _add_noise_to_recorded):
        generator = torch.Generator().manual_seed(1)
        added = add_noise(before, strengths, generator) - before.signal
        spread = added.std(dim=2)
        torch.testing.assert_close(spread, strengths * before.lead_mask, rtol=0.15, atol=1e-6)
