"""What clients do for their strategies, against references written by hand."""

import numpy as np
import pytest
import torch

from clients.client_state import ClientState
from clients.local_objectives import control_penalty, next_control, objective_penalty
from clients.local_training import train_site
from clients.simulated_sites import open_site
from fl.training.state_dict import local_entries
from server.aggregation.scaffold import merge_control
from server.app import initial_weights

# Each site's loss is 1/2 sum a (w - b)^2: two parameters, gradients known.
A = np.array([[1.0, 0.5], [0.2, 2.0]])
B = np.array([[1.0, -1.0], [-2.0, 0.5]])
LR, STEPS, ROUNDS = 0.1, 3, 4


class TwoParameters(torch.nn.Module):
    def __init__(self, start):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))


def gradient(site, w):
    return A[site] * (w - B[site])


def descend(site, start, penalty):
    """Plain gradient steps of the site's loss and its strategy's term."""
    net = TwoParameters(start)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    for _ in range(STEPS):
        loss = 0.5 * (torch.tensor(A[site]) * (net.w - torch.tensor(B[site])).pow(2)).sum()
        objective = loss + penalty(net) if penalty else loss
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
    return net.w.detach().numpy()


def test_fedprox_is_the_reference():
    mu, ours, reference = 0.7, np.zeros(2), np.zeros(2)
    for _ in range(ROUNDS):
        ends = []
        for site in range(2):
            penalty = objective_penalty(TwoParameters(ours), mu, {}, {}, "cpu")
            ends.append(descend(site, ours, penalty))
        ours = np.mean(ends, axis=0)
        expected = []
        for site in range(2):
            w = reference.copy()
            for _ in range(STEPS):
                w = w - LR * (gradient(site, w) + mu * (w - reference))
            expected.append(w)
        reference = np.mean(expected, axis=0)
        np.testing.assert_allclose(ours, reference, atol=1e-6)


def test_scaffold_is_the_reference():
    ours, control = np.zeros(2), {"w": np.zeros(2, dtype=np.float32)}
    own = [{"w": np.zeros(2, dtype=np.float32)} for _ in range(2)]
    x, c, c_site = np.zeros(2), np.zeros(2), [np.zeros(2), np.zeros(2)]
    for _ in range(ROUNDS):
        ends, sent = [], []
        for site in range(2):
            drift = [torch.tensor(control["w"] - own[site]["w"], dtype=torch.float64)]
            end = descend(site, ours, lambda net, d=drift: control_penalty([net.w], d))
            new = next_control(own[site], control, {"w": ours}, {"w": end}, STEPS * LR)
            sent.append(control["w"] + new["w"] - own[site]["w"])
            own[site] = new
            ends.append(end)
        ours = np.mean(ends, axis=0)
        control = merge_control(control, {"w": np.mean(sent, axis=0)}, share=1.0)

        expected, changes = [], []
        for site in range(2):
            y = x.copy()
            for _ in range(STEPS):
                y = y - LR * (gradient(site, y) - c_site[site] + c)
            new_c = c_site[site] - c + (x - y) / (STEPS * LR)
            changes.append(new_c - c_site[site])
            c_site[site] = new_c
            expected.append(y)
        x, c = np.mean(expected, axis=0), c + np.mean(changes, axis=0)
        np.testing.assert_allclose(ours, x, atol=1e-6)
        np.testing.assert_allclose(control["w"], c, atol=1e-6)


def test_sites_that_were_not_asked_hold_the_control_variate_back():
    control, average = {"w": np.zeros(2)}, {"w": np.ones(2)}
    np.testing.assert_allclose(merge_control(control, average, share=0.25)["w"], 0.25)


def test_fedbn_keeps_the_normalisation_layers_at_the_site(make_job):
    job = make_job(strategy="fedbn")
    site, start = open_site(job, 0), initial_weights(job)
    local = local_entries("fedbn", job.config.model, job.config.task)
    assert local
    assert all("norm" in name or name.rsplit(".", 2)[-2].isdigit() for name in local)
    trained = train_site(site, job, start, 1, 0.0, {})
    assert trained.weights.keys() == start.keys() - local
    # What comes back from the server cannot undo them: the next visit begins from its own.
    spoiled = start | {name: np.full_like(start[name], 1e6) for name in local}
    again = train_site(site, job, spoiled | trained.weights, 2, 0.0, {})
    assert all(np.isfinite(v).all() and abs(v).max() < 1e3 for v in again.weights.values())


def test_a_site_keeps_its_last_two_rounds_and_looks_before_a_round(tmp_path):
    keep = ClientState(tmp_path)
    for number in (1, 3, 4):
        keep.put(number, {"w": np.full(1, number)})
    assert keep.before(5)["w"] == [4]
    assert keep.before(4)["w"] == [3]
    assert keep.before(3) == {}


def test_nothing_kept_is_nothing(tmp_path):
    ClientState(tmp_path).put(1, {})
    assert ClientState(tmp_path).before(2) == {}


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "scaffold"])
def test_other_strategies_share_every_entry(strategy):
    assert local_entries(strategy, "resnet1d", "rhythm") == frozenset()
