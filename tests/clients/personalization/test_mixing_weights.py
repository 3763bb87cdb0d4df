"""How much each network of a mixture counts: found on patients, shrunk where they are few."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_cohorts import made_cohort

from clients.personalization.mixing_weights import (
    FEWEST,
    SHRINKAGE,
    CropLogits,
    crop_logits,
    mix,
    shares_of,
    simplex,
)
from fl.data.cohort import Cohort
from fl.ecg.tasks import BEAT, RHYTHM
from fl.models import build_network
from fl.models.mixture import MixtureOfNetworks
from fl.training.loop import predict

PRIOR = np.full(3, 1 / 3)


def made(n_patients, seed=0, per_patient=2, task=RHYTHM):
    """Patients with some examples each, and logits of three networks; the second is right."""
    rng = np.random.default_rng(seed)
    n = n_patients * per_patient
    truth = rng.integers(0, 3, size=n)
    cohort = made_cohort(
        [f"p{i // per_patient}" for i in range(n)], [[c] for c in truth], task=task
    )
    noise = rng.normal(0, 2, size=(3, n, len(task.classes)))
    noise[1] = 4 * (cohort.labels - 0.5)
    return cohort, CropLogits(logits=noise, example=np.arange(n))


def reordered(cohort, read, order):
    place = np.argsort(order)
    return cohort.take(order), replace(read, example=place[read.example])


@given(st.integers(0, 40), st.integers(0, 5))
def test_shares_are_not_negative_and_their_sum_is_one(n_patients, seed):
    cohort, read = made(n_patients, seed)
    found = mix(read, cohort, PRIOR)
    assert (found.shares >= 0).all()
    assert found.shares.sum() == pytest.approx(1)
    assert found.p.shape == (len(cohort), 9)


@pytest.mark.parametrize(("networks", "steps"), [(1, 4), (2, 5), (3, 20)])
def test_the_grid_has_every_way_to_share(networks, steps):
    grid = simplex(networks, steps)
    np.testing.assert_allclose(grid.sum(axis=1), 1)
    assert (grid >= 0).all()
    assert len({tuple(row) for row in np.round(grid * steps).astype(int).tolist()}) == len(grid)
    assert {tuple(row) for row in np.eye(networks).tolist()} <= {tuple(r) for r in grid.tolist()}
    assert len(grid) == {1: 1, 2: 6, 3: 231}[networks]


@settings(max_examples=25)
@given(st.permutations(range(24)))
def test_the_order_of_the_examples_does_not_matter(order):
    cohort, read = made(12)
    found = mix(read, cohort, PRIOR)
    other = mix(*reversed(reordered(cohort, read, np.array(order))), PRIOR)
    np.testing.assert_array_equal(other.shares, found.shares)
    np.testing.assert_allclose(other.p, found.p[np.array(order)], atol=2e-7)


def test_with_many_patients_the_network_that_is_right_has_nearly_all():
    shares = mix(*reversed(made(200)), PRIOR).shares
    assert shares[1] > 0.9


def test_the_fewer_patients_the_nearer_the_shares_are_to_the_prior():
    distance = [np.abs(mix(*reversed(made(n)), PRIOR).shares - PRIOR).sum() for n in (3, 10, 60)]
    assert distance[0] < distance[1] < distance[2]


@pytest.mark.parametrize("n", [0, 1, FEWEST - 1])
def test_fewer_than_three_patients_have_the_prior(n):
    prior = np.array([0.5, 0.3, 0.2])
    np.testing.assert_array_equal(mix(*reversed(made(n)), prior).shares, prior)


def test_shares_are_half_way_to_the_prior_at_so_many_patients():
    grid = simplex(3, 20)
    total = 10 * (1 - grid[:, 0])  # the first network alone is the best
    found = shares_of(total, SHRINKAGE, grid, PRIOR)
    np.testing.assert_allclose(found, (PRIOR + np.eye(3)[0]) / 2)


def test_of_equally_good_points_the_nearest_to_the_prior_is_taken():
    grid = simplex(2, 4)
    found = shares_of(np.zeros(len(grid)), 1_000_000, grid, np.array([0.5, 0.5]))
    np.testing.assert_allclose(found, [0.5, 0.5])


@pytest.mark.parametrize("task", [RHYTHM, BEAT], ids=lambda task: task.name)
def test_a_patient_is_answered_by_shares_of_the_others_alone(task):
    cohort, read = made(8, task=task)
    read = replace(read, logits=np.random.default_rng(3).normal(0, 2, read.logits.shape))
    theirs = cohort.patients == cohort.patients[6]
    assert theirs.sum() == 2
    before = mix(read, cohort, PRIOR).p
    labels = cohort.labels.copy()
    labels[theirs] = np.roll(labels[theirs], 1, axis=1)
    shard = replace(cohort.shards[0], labels=labels)
    after = mix(read, Cohort.of(task, [shard]), PRIOR).p
    np.testing.assert_array_equal(after[theirs], before[theirs])
    # What the others are answered does depend on this patient.
    assert (after[~theirs] != before[~theirs]).any()


def test_a_patient_counts_once_whatever_the_number_of_recordings():
    cohort, read = made(10)
    again = np.concatenate([np.flatnonzero(cohort.patients == cohort.patients[0])] * 30)
    rows = np.concatenate([np.arange(len(cohort)), again])
    more = CropLogits(logits=read.logits[:, rows], example=np.arange(len(rows)))
    found = mix(more, cohort.take(rows), PRIOR).shares
    np.testing.assert_allclose(found, mix(read, cohort, PRIOR).shares)


def test_without_patients_there_is_no_loss():
    found = mix(*reversed(made(0)), PRIOR)
    assert np.isnan(found.loss)
    assert np.isnan(found.loss_of_each).all()


def test_a_class_that_a_source_never_annotated_adds_nothing():
    cohort, read = made(10)
    labels = cohort.labels.copy()
    labels[:, 8] = -1
    unknown = Cohort.of(RHYTHM, [replace(cohort.shards[0], labels=labels)])
    wild = read.logits.copy()
    wild[0, :, 8] = 50
    found = mix(replace(read, logits=wild), unknown, PRIOR)
    np.testing.assert_array_equal(found.shares, mix(read, unknown, PRIOR).shares)
    assert found.loss_of_each[0] == mix(read, unknown, PRIOR).loss_of_each[0]


@pytest.mark.parametrize(("data", "model"), [("few", "resnet1d"), ("beats", "beat_gru")])
def test_a_mixture_predicts_what_its_crops_say(data, model, request):
    whole = request.getfixturevalue(data)
    cohort = whole.take(np.arange(min(200, len(whole))))
    torch.manual_seed(0)
    networks = [build_network(model, cohort.task) for _ in range(3)]
    read = crop_logits(networks, cohort)
    shares = mix(read, cohort, PRIOR).shares
    expected = predict(MixtureOfNetworks(networks, shares), cohort)
    sum_of = np.tensordot(shares, read.logits, axes=1)
    odds = np.exp(sum_of)
    p = odds / (odds.sum(axis=1, keepdims=True) if cohort.task.exclusive else 1 + odds)
    mean = np.zeros_like(expected)
    np.add.at(mean, read.example, p)
    mean /= np.bincount(read.example)[:, None]
    np.testing.assert_allclose(mean, expected, atol=1e-5)
