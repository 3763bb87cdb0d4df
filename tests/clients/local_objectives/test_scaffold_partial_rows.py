"""SCAFFOLD where some rows are trained by some sites alone: a convex problem, both halves of it."""

import numpy as np
import pytest
from support.prepared_sites import update
from support.quadratic_sites import TwoParameters, descend

from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_objectives.base import RoundStart
from fl.models import NetworkParts
from server.aggregation.evidence_average import average_updates
from server.aggregation.scaffold import merge_control

RECORDS = (10, 20, 10)
# Curvature of each site's loss in each row; 0: the site's records do not train the row.
A = np.array([[1.0, 1.0, 0.0], [0.3, 0.0, 0.5], [0.7, 0.0, 1.0]])
B = np.array([[1.0, 1.0, 9.0], [-2.0, 9.0, -1.0], [3.0, 9.0, 2.0]])
PARTS = NetworkParts(head=("w",))


def optimum():
    """Where the sites' losses, weighted by the records that train a row, are least together."""
    weight = A * np.array(RECORDS)[:, None]
    return (weight * B).sum(axis=0) / weight.sum(axis=0)


def rounds_of(strategy, rounds, lr, steps):
    """The weights after each round, by the same functions as a run's."""
    half = LOCAL_OBJECTIVES[strategy]
    w, kept = np.zeros(3), [{}, {}, {}]
    control = {"w": np.zeros(3, np.float32)} if strategy == "scaffold" else {}
    found = []
    for _ in range(rounds):
        replies = []
        for site, n in enumerate(RECORDS):
            trains = A[site] > 0
            begin = RoundStart(
                network=TwoParameters(w),
                weights={"w": w},
                sent=control,
                kept=kept[site],
                trained={"w": trains.astype(np.float32)},
            )
            end = {"w": descend(site, w, half.penalty(begin), A, B, lr, steps)}
            extra = half.extra(begin, end, lr * steps)
            kept[site] = extra.kept
            counts = tuple((n * trains).tolist())
            replies.append(update(str(site), end, n_records=n, annotated=counts, extra=extra.sent))
        merged = average_updates(replies, {"w": w}, control, PARTS, sum(RECORDS))
        w = merged.weights["w"]
        if control:
            control = merge_control(control, merged.extra, 1.0)
        found.append(w)
    return found, kept, control


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold"])
def test_a_row_that_a_quarter_of_the_records_trains_goes_as_plain_descent(strategy):
    found, _, _ = rounds_of(strategy, 3, lr=0.4, steps=2)
    np.testing.assert_allclose([w[1] for w in found], [0.64, 0.8704, 0.9533], atol=1e-4)


@pytest.mark.parametrize("steps", [1, 10])
def test_scaffold_finds_the_optimum_of_all_sites_however_many_steps_they_take(steps):
    found, _, _ = rounds_of("scaffold", 400 // steps, lr=0.2, steps=steps)
    np.testing.assert_allclose(found[-1], optimum(), atol=1e-3)


def test_fedavg_ends_elsewhere_where_sites_take_many_steps():
    found, _, _ = rounds_of("fedavg", 40, lr=0.2, steps=10)
    off = np.abs(found[-1] - optimum())
    assert off[[0, 2]].min() > 0.1  # rows that several unlike sites train
    assert off[1] < 1e-3


def test_the_servers_control_variate_is_the_mean_over_the_sites_that_train_a_row():
    _, kept, control = rounds_of("scaffold", 5, lr=0.2, steps=3)
    weight = (A > 0) * np.array(RECORDS)[:, None]
    own = np.array([site["w"] for site in kept])
    expected = (weight * own).sum(axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(control["w"], expected, atol=1e-5)


def test_the_control_variate_of_a_row_that_a_site_does_not_train_stays_as_it_is():
    _, kept, _ = rounds_of("scaffold", 5, lr=0.2, steps=3)
    own = np.array([site["w"] for site in kept])
    assert (own[A == 0] == 0).all()
    assert (own[A > 0] != 0).all()


def test_weight_decay_is_no_drift_of_a_row_that_a_site_does_not_train():
    w = {"w": np.array([1.0, 2.0])}
    half, control = LOCAL_OBJECTIVES["scaffold"], {"w": np.array([0.5, 0.5], np.float32)}
    trained = {"w": np.array([1.0, 0.0], np.float32)}
    begin = RoundStart(network=TwoParameters(w), weights=w, sent=control, trained=trained)
    assert half.penalty(begin)(begin.network).item() == 0.5  # of the first weight alone
    extra = half.extra(begin, {"w": np.array([0.9, 1.8])}, lr_sum=0.1)
    np.testing.assert_allclose(extra.kept["w"], [0.5, 0], atol=1e-6)
    np.testing.assert_allclose(extra.sent["w"], [1.0, 0.5], atol=1e-6)
