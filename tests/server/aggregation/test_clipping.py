"""An update many times as long as the others' is scaled down; honest ones keep their bits."""

import numpy as np
import pytest
from support.prepared_sites import update

from server.aggregation.clipping import FEWEST_SITES, clip_updates, update_norm

START = {"w": np.full(4, 2.0, np.float32), "steps": np.zeros((), np.int64)}
EXTRA = {"w": np.zeros(4, np.float32)}


def trained(norms, extra=()):
    """Updates of these Euclidean norms: of weights, and of a strategy's arrays beside them."""
    extra = extra or [1.0] * len(norms)
    return [
        update(
            f"site-{number}",
            {"w": START["w"] + np.float32(norm / 2), "steps": np.array(900 * number)},
            extra={"w": EXTRA["w"] + np.float32(e / 2)},
        )
        for number, (norm, e) in enumerate(zip(norms, extra, strict=True), start=1)
    ]


def norms_of(replies):
    return [update_norm(reply.weights, START) for reply in replies]


def test_the_norm_is_that_of_all_changes_together_without_counters():
    (one,) = trained([6.0])
    assert update_norm(one.weights, START) == pytest.approx(6.0)
    two = START | {"more": np.zeros(2, np.float32)}
    assert update_norm({**one.weights, "more": np.array([8.0, 0.0])}, two) == pytest.approx(10.0)


def test_an_update_above_the_bound_is_scaled_to_the_median_in_its_direction_and_named():
    found = clip_updates(trained([1, 2, 3, 2000]), START, EXTRA, 4.0)
    assert norms_of(found.updates) == pytest.approx([1, 2, 3, 2.5])
    assert found.updates[3].weights["w"].dtype == np.float32
    assert found.updates[3].weights["steps"].dtype == np.int64
    assert list(found.notes) == ["site-4"]
    assert "800 times as long as the median of 4 sites" in found.notes["site-4"]
    assert found.updates[3].n_records == 10


@pytest.mark.parametrize("norms", [[1, 2, 3, 10], [0, 0, 0, 1000], [5, 5], [1, 5000], [3]])
def test_nothing_is_computed_again_where_nothing_is_above_the_bound(norms):
    before = trained(norms)
    found = clip_updates(before, START, EXTRA, 4.0)
    assert found.notes == {}
    # The same objects: an honest run keeps every bit.
    assert all(a is b for a, b in zip(found.updates, before, strict=True))


def test_zero_switches_it_off_and_two_sites_cannot_tell_who_is_odd():
    assert clip_updates(trained([1, 1, 1000]), START, EXTRA, 0.0).notes == {}
    assert clip_updates(trained([1, 1, 1000]), START, EXTRA, 10.0).notes
    assert FEWEST_SITES == 3


def test_a_strategys_arrays_are_clipped_by_themselves():
    replies = trained([1, 1, 1], [2.0, 2.0, 2000.0])
    found = clip_updates(replies, START, EXTRA, 5.0)
    assert norms_of(found.updates) == pytest.approx([1, 1, 1])
    assert update_norm(found.updates[2].extra, EXTRA) == pytest.approx(2.0)
    assert found.updates[2].weights is replies[2].weights
    assert "the strategy's arrays" in found.notes["site-3"]


def test_a_minority_of_liars_does_not_move_the_bound_far():
    honest = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95]
    for lie in (1e3, 1e9, 1e18):
        found = clip_updates(trained([*honest, lie, lie]), START, EXTRA, 10.0)
        assert max(norms_of(found.updates)) <= 1.1001


def test_the_norm_has_the_bits_of_its_entries_one_by_one():
    rng = np.random.default_rng(5)
    shapes = [(16, 2, 5), (16,), (1,), (), (32, 58), (0,), (3, 7)]
    start, end = (
        {str(i): rng.standard_normal(s).astype(np.float32) for i, s in enumerate(shapes)}
        for _ in range(2)
    )
    total = 0.0
    for name, before in start.items():
        change = np.subtract(end[name], before, dtype=np.float64).ravel()
        total += float(change @ change)
    assert update_norm(end, start) == np.sqrt(total)
