"""DP-SGD by patient: what one patient can change, and what is left without noise and clip."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.plans import PLAN
from torch import nn

from fl.ecg.tasks import RHYTHM
from fl.models import build_network
from fl.privacy.differential_privacy import private_training
from fl.privacy.differential_privacy.gaussian_noise import seeded_noise
from fl.privacy.differential_privacy.private_training import (
    PrivateSteps,
    by_patient,
    draw_patients,
    private_fit,
    require_separate_patients,
    steps_of_round,
    sum_of_clipped,
)
from fl.training.flat_parameters import FlatParameters
from fl.training.losses import task_loss
from fl.util.errors import ConfigError
from fl.util.random_streams import stream

SGD = replace(PLAN, sgd=True, weight_decay=0.0, dropout=0.0, signal_dropout=0.0, constant=True)


def steps(**changed):
    usual = {"steps": 3, "sample_rate": 1.0, "clip": math.inf, "noise": 0.0}
    usual |= {"normal": seeded_noise(0), "shared_forward": False, "rng": stream(0, "draws")}
    return PrivateSteps(**(usual | changed))


def network():
    torch.manual_seed(1)
    return build_network("cnn_simple", RHYTHM)


def weights_of(found):
    return torch.cat([p.detach().reshape(-1) for p in found.parameters()])


def test_without_noise_and_clip_it_is_plain_training_of_the_same_sampling(few):
    plan, private, start = SGD, steps(), network()
    mine = network()
    private_fit(mine, few, plan, private)

    rng = stream(0, "draws")
    start.train()
    for module in start.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.SGD(start.parameters(), lr=plan.lr)
    examples_of = by_patient(few)
    for _ in range(private.steps):
        draw = draw_patients(examples_of, private.sample_rate, rng)
        losses = []
        for examples in draw:
            batch = few.batch(examples, few.random_starts(examples, rng))
            logits = start(batch.signal, batch.lead_mask, batch.features)
            losses.append(task_loss(few.task, logits, batch.labels))
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
    assert torch.allclose(weights_of(mine), weights_of(start), atol=1e-6)


@pytest.mark.parametrize("windows", [1, 1000])
def test_a_patient_moves_a_step_by_at_most_the_clip(few, windows):
    clip, lr = 0.01, 0.5
    everyone = np.arange(len(few))
    one = few.take(np.concatenate([everyone, np.repeat(0, windows)]))
    others = few.take(np.flatnonzero(few.patients != few.patients[0]))
    plan = replace(SGD, lr=lr)
    moved = []
    for cohort in (one, others):
        found = network()
        rows = FlatParameters.of(found)
        rng = stream(0, "test")
        draw = draw_patients(by_patient(cohort), 1.0, rng)
        private = steps(clip=clip)
        losses = private_training._patient_losses(found, cohort, draw, plan, False, rng)
        moved.append(sum_of_clipped(losses, rows, private))
    patients = len(by_patient(one))
    assert len(by_patient(others)) == patients - 1
    assert float(moved[0].norm()) <= clip * patients * 1.0001
    # Each patient's own gradient is no longer than the clip, however many windows there are.
    found = network()
    rows = FlatParameters.of(found)
    rng = stream(0, "test")
    draw = draw_patients(by_patient(one), 1.0, rng)[:1]
    losses = private_training._patient_losses(found, one, draw, plan, False, rng)
    assert float(sum_of_clipped(losses, rows, steps(clip=clip)).norm()) <= clip * 1.0001


def test_a_frozen_body_gives_the_same_gradients_in_one_pass(few):
    sums = []
    for together in (False, True):
        found = network()
        for name, parameter in found.named_parameters():
            parameter.requires_grad_(name.startswith(("dense", "head")))
        found.eval()
        rows = FlatParameters.of(found)
        rng = stream(0, "test")
        plan = replace(SGD, augment=())
        draw = draw_patients(by_patient(few), 1.0, rng)
        # Whole batches draw their crops in another order: the middle of each recording instead.
        cohort = few
        rng = _NoChance()
        private = steps(clip=0.05, shared_forward=together)
        losses = private_training._patient_losses(found, cohort, draw, plan, together, rng)
        sums.append(sum_of_clipped(losses, rows, private))
    assert torch.allclose(*sums, atol=1e-6)


class _NoChance:
    """Random numbers that are all the smallest."""

    def integers(self, low, high=None, size=None, **_):
        return np.zeros_like(np.asarray(low if high is None else high)) if size is None else 0

    def random(self, size=None):
        return 0.0 if size is None else np.zeros(size)


def test_a_patient_whose_gradient_is_no_number_adds_nothing():
    layer = nn.Linear(2, 1)
    rows = FlatParameters.of(layer)
    good, bad = layer(torch.ones(1, 2)).sum(), layer(torch.full((1, 2), math.nan)).sum()
    found = sum_of_clipped([good, bad], rows, steps(clip=1.0))
    assert float(found.norm()) == pytest.approx(1.0)


def test_noise_has_the_stated_size_and_is_divided_by_the_expected_number_of_patients(few):
    plan = replace(SGD, lr=1.0)
    clear, noised = network(), network()
    private_fit(clear, few, plan, steps(steps=1, clip=0.1))
    private_fit(noised, few, plan, steps(steps=1, clip=0.1, noise=5.0))
    difference = weights_of(noised) - weights_of(clear)
    assert float(difference.std()) == pytest.approx(5.0 * 0.1 / len(by_patient(few)), rel=0.02)


def test_each_patient_is_drawn_with_the_stated_chance_and_a_holter_patient_only_once(rng):
    examples_of = [np.arange(170), np.array([170])]
    draws = [draw_patients(examples_of, 0.25, rng) for _ in range(2000)]
    assert all(len(examples) <= 4 for draw in draws for examples in draw)
    assert np.mean([len(draw) for draw in draws]) == pytest.approx(0.5, abs=0.05)


def test_a_step_that_draws_nobody_is_noise_alone(few):
    found = private_fit(network(), few, SGD, steps(steps=1, sample_rate=1e-9, noise=1.0, clip=1e-9))
    assert found.steps == 1


def test_networks_that_mix_patients_are_refused():
    with pytest.raises(ConfigError, match="batch normalisation"):
        require_separate_patients(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


def test_steps_of_a_round():
    assert steps_of_round(1, 0.25, secure=False) == 4
    assert steps_of_round(1, 0.25, secure=True) == 1
    assert steps_of_round(1, 1.0, secure=False) == 1
