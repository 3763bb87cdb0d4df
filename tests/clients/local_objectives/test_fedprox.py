"""FedProx's term: what it is, where it pulls, and that every batch has it."""

import numpy as np
import pytest
import torch
from support.quadratic_sites import LR, ROUNDS, STEPS, TwoParameters, descend, gradient

from clients.local_objectives import LOCAL_OBJECTIVES, fedprox
from clients.local_objectives.base import RoundStart
from clients.local_objectives.fedprox import proximal_penalty
from clients.local_training import train_site
from clients.simulated_sites import open_site
from server.app import initial_weights


@pytest.mark.parametrize("start", [-2.0, 3.0])  # either side of the global weight
def test_proximal_penalty_pulls_towards_the_global_weight(start):
    local, anchor = torch.tensor([start], requires_grad=True), torch.tensor([0.5])
    proximal_penalty([local], [anchor], mu=0.4).backward()
    assert local.grad.item() == pytest.approx(0.4 * (start - 0.5))


def test_proximal_penalty_is_half_mu_times_the_squared_distance_over_all_layers():
    local = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    anchor = [torch.zeros(2), torch.zeros(1, 1)]
    assert proximal_penalty(local, anchor, mu=0.5).item() == pytest.approx(0.25 * 14)
    assert proximal_penalty(local, local, mu=0.5).item() == 0


def test_proximal_penalty_refuses_networks_of_different_size():
    with pytest.raises(ValueError, match="shorter"):
        proximal_penalty([torch.ones(1)] * 2, [torch.ones(1)], mu=1)


def test_fedprox_is_the_reference():
    mu, ours, reference = 0.7, np.zeros(2), np.zeros(2)
    for _ in range(ROUNDS):
        ends = []
        for site in range(2):
            begin = RoundStart(
                network=TwoParameters(ours), weights={"w": ours}, mu=mu, proximal="loss"
            )
            ends.append(descend(site, ours, LOCAL_OBJECTIVES["fedprox"].penalty(begin)))
        ours = np.mean(ends, axis=0)
        expected = []
        for site in range(2):
            w = reference.copy()
            for _ in range(STEPS):
                w = w - LR * (gradient(site, w) + mu * (w - reference))
            expected.append(w)
        reference = np.mean(expected, axis=0)
        np.testing.assert_allclose(ours, reference, atol=1e-6)


def train_once(make_job, name, mu, **settings):
    """The first weights, and those after one round of FedProx at one site."""
    job = make_job(2, name=name, strategy="fedprox", **settings)
    start = initial_weights(job)
    return start, train_site(open_site(job, 0), job, start, 1, mu)


def distance(one, other):
    return sum(float(((one[k] - other[k]) ** 2).sum()) for k in one) ** 0.5


@pytest.mark.parametrize("proximal", ["decoupled", "loss"])
def test_a_large_mu_keeps_a_site_near_the_global_weights(make_job, proximal):
    moved = []
    for mu in (0.0, 10.0, 400.0):
        given = {"batch_size": 4, "local_epochs": 3, "proximal": proximal}
        start, trained = train_once(make_job, f"mu-{mu:g}", mu, **given)
        moved.append(distance(trained.weights, start))
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] < moved[0] / 2


def test_the_term_is_added_to_every_batch(make_job, monkeypatch):
    terms = []

    def recorded(local, anchor, mu):
        term = proximal_penalty(local, anchor, mu)
        terms.append(term.item())
        return term

    monkeypatch.setattr(fedprox, "proximal_penalty", recorded)
    given = {"batch_size": 2, "local_epochs": 2, "proximal": "loss"}
    _, trained = train_once(make_job, "recorded", 1.0, **given)
    assert len(terms) == trained.steps > 4
    assert terms[0] == 0  # at the global weights themselves
    assert min(terms[1:]) > 0


@pytest.mark.parametrize(
    ("proximal", "mu", "term", "pull"),
    [
        ("loss", 0.3, True, 0.0),
        ("decoupled", 0.3, False, 0.3),
        ("loss", 0.0, False, 0.0),
        ("decoupled", 0.0, False, 0.0),
    ],
)
def test_the_term_is_in_the_loss_or_a_step_of_its_own_and_never_both(proximal, mu, term, pull):
    network = TwoParameters(np.zeros(2))
    begin = RoundStart(network=network, weights={}, mu=mu, proximal=proximal)
    half = LOCAL_OBJECTIVES["fedprox"]
    assert (half.penalty(begin) is not None) is term
    assert half.pull(begin) == pull
