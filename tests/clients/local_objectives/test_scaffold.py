"""SCAFFOLD's two halves against the algorithm of the paper, written by hand."""

import numpy as np
import pytest
import torch
from support.quadratic_sites import LR, ROUNDS, STEPS, TwoParameters, descend, gradient

from clients.client_state import EXTRA
from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_objectives.base import RoundStart
from clients.local_objectives.scaffold import control_penalty, next_control
from clients.local_training import site_state, train_site
from clients.simulated_sites import open_site
from server.aggregation.scaffold import merge_control
from server.app import initial_extra, initial_weights

SCAFFOLD = LOCAL_OBJECTIVES["scaffold"]


def round_start(weights, control, kept):
    return RoundStart(network=TwoParameters(weights), weights=weights, sent=control, kept=kept)


def test_the_next_control_variate_is_that_of_option_2():
    arrays = ({"w": np.array([value])} for value in (5.0, 3.0, 8.0, 7.0))
    found = next_control(*arrays, lr_sum=0.25)
    assert found["w"].tolist() == [5 - 3 + (8 - 7) / 0.25]
    assert found["w"].dtype == np.float32


def test_the_correction_has_the_drift_as_its_gradient():
    local = [
        torch.tensor([2.0, 3.0], requires_grad=True),
        torch.tensor([[4.0]], requires_grad=True),
    ]
    drift = [torch.tensor([0.5, -1.0]), torch.tensor([[7.0]])]
    term = control_penalty(local, drift)
    assert term.item() == 2 * 0.5 - 3 + 4 * 7
    term.backward()
    assert [w.grad.tolist() for w in local] == [d.tolist() for d in drift]


@pytest.mark.parametrize(("kept", "own"), [({}, 0.0), ({"w": np.array([0.5, 0.5])}, 0.5)])
def test_a_site_corrects_by_the_difference_of_the_control_variates(kept, own):
    begin = round_start({"w": np.ones(2)}, {"w": np.array([2.0, 3.0], dtype=np.float32)}, kept)
    term = SCAFFOLD.penalty(begin)(begin.network)
    assert term.item() == (2 - own) + (3 - own)
    update = SCAFFOLD.extra(begin, {"w": np.zeros(2)}, lr_sum=0.5)
    # Option II keeps c_site - c + 1 / 0.5; c and what that adds to c_site are sent.
    assert update.kept["w"].tolist() == [own - 2 + 2, own - 3 + 2]
    assert update.sent["w"].tolist() == [2.0, 2.0]


def test_scaffold_is_the_reference():
    ours, control = np.zeros(2), {"w": np.zeros(2, dtype=np.float32)}
    kept = [{}, {}]
    x, c, c_site = np.zeros(2), np.zeros(2), [np.zeros(2), np.zeros(2)]
    for _ in range(ROUNDS):
        ends, sent = [], []
        for site in range(2):
            begin = round_start({"w": ours}, control, kept[site])
            end = descend(site, ours, SCAFFOLD.penalty(begin))
            update = SCAFFOLD.extra(begin, {"w": end}, STEPS * LR)
            kept[site] = update.kept
            sent.append(update.sent["w"])
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


def test_a_site_keeps_its_control_variate_for_its_next_round(make_job):
    job = make_job(2, strategy="scaffold")
    site, weights, control = open_site(job, 0), initial_weights(job), initial_extra(job)
    assert control
    trained = train_site(site, job, weights, 1, extra=control)
    kept = site_state(site, job, EXTRA).before(2)
    assert trained.extra.keys() == kept.keys() == control.keys()
    # Both control variates were zero, so the site sends its new one.
    assert all(np.array_equal(trained.extra[name], kept[name]) for name in control)
    assert any(values.any() for values in kept.values())
