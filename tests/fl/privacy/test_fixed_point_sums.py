"""Updates as whole numbers: any order gives the same bits, and the average is the true one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.models import NetworkParts
from fl.privacy.fixed_point_sums import (
    BOUND_BITS,
    EXTRA_BOUND_BITS,
    FixedPointSums,
    UpdateCounts,
)

START = {
    "stem": np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 2, 2),
    "head": np.linspace(1, 2, 6, dtype=np.float32).reshape(3, 2),
    "seen": np.array(7, dtype=np.int64),
}
CONTROL = {"head": np.full((3, 2), 0.5, np.float32)}
PARTS = NetworkParts(head=("head",), lead_columns=("stem",))


def sums(most=1000):
    return FixedPointSums(START, CONTROL, PARTS, classes=3, leads=2, most=most)


def changed(arrays, rng):
    """The arrays, each value moved by about one."""
    return {
        name: (value + rng.normal(size=value.shape)).astype(value.dtype)
        if value.dtype.kind == "f"
        else value + 3
        for name, value in arrays.items()
    }


def sites(n, seed):
    """Updates of n sites, with counts of their own."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        records = int(rng.integers(1, 50))
        annotated = tuple(rng.integers(0, records + 1, size=3).tolist())
        recorded = tuple(rng.integers(0, records + 1, size=2).tolist())
        counts = UpdateCounts(records=records, annotated=annotated, recorded=recorded)
        found.append((changed(START, rng), changed(CONTROL, rng), counts))
    return found


def mean_by(values, counts, records):
    """The average in double precision; by all records where nobody counts."""
    counts = np.array(counts if sum(counts) else records, dtype=float)
    return np.tensordot(counts, np.array(values, dtype=float), axes=1) / counts.sum()


@given(st.integers(1, 8), st.integers(0, 10_000))
def test_each_row_and_column_is_the_average_by_its_own_records(n, seed):
    given_ = sites(n, seed)
    records = [c.records for _, _, c in given_]
    total = sum(sums().encode(*site) for site in given_)
    weights, extra, counts = sums().decode(total)
    assert counts.records == sum(c.records for _, _, c in given_)
    for row in range(3):
        by = [c.annotated[row] for _, _, c in given_]
        head = mean_by([w["head"][row] for w, _, _ in given_], by, records)
        np.testing.assert_allclose(weights["head"][row], head, rtol=1e-6, atol=1e-6)
        control = mean_by([e["head"][row] for _, e, _ in given_], by, records)
        np.testing.assert_allclose(extra["head"][row], control, rtol=1e-6, atol=1e-6)
    for lead in range(2):
        by = [c.recorded[lead] for _, _, c in given_]
        stem = mean_by([w["stem"][:, lead] for w, _, _ in given_], by, records)
        np.testing.assert_allclose(weights["stem"][:, lead], stem, rtol=1e-6, atol=1e-6)
    assert weights["seen"] == 10
    assert {k: v.dtype for k, v in weights.items()} == {k: v.dtype for k, v in START.items()}


@given(st.permutations(range(7)), st.integers(0, 1000))
def test_the_order_of_the_sites_changes_no_bit(order, seed):
    vectors = [sums().encode(*site) for site in sites(7, seed)]
    one, other = sum(vectors), sum(vectors[i] for i in order)
    assert np.array_equal(one, other)


def test_what_comes_out_is_in_the_order_of_what_was_sent():
    """Flower's FedAvgM takes arrays by their place."""
    for start in (START, dict(reversed(START.items()))):
        made = FixedPointSums(start, CONTROL, PARTS, classes=3, leads=2, most=1000)
        weights, _, _ = made.decode(sum(made.encode(*site) for site in sites(2, 0)))
        assert list(weights) == list(start)


def test_the_order_in_which_the_entries_came_changes_no_number():
    ((weights, extra, counts),) = sites(1, 3)
    other = FixedPointSums(
        dict(reversed(START.items())), CONTROL, PARTS, classes=3, leads=2, most=1000
    )
    mixed = other.encode(dict(reversed(weights.items())), extra, counts)
    assert np.array_equal(sums().encode(weights, extra, counts), mixed)


@given(st.integers(0, 1000))
def test_masks_that_cancel_leave_the_sum_as_it_is(seed):
    """Integers wrap around, so a sum under masks is the plain one, bit for bit."""
    rng = np.random.default_rng(seed)
    vectors = [sums().encode(*site) for site in sites(3, seed)]
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    masks = [rng.integers(low, high, size=vectors[0].shape) for _ in range(2)]
    with np.errstate(over="ignore"):
        masked = [vectors[0] + masks[0], vectors[1] + masks[1], vectors[2] - masks[0] - masks[1]]
        assert np.array_equal(sum(masked), sum(vectors))


@pytest.mark.parametrize("most", [1, 2, 1000, 2**20, 10**9])
def test_there_is_room_for_the_largest_change_times_the_most_records(most):
    start = {"w": np.array([0.0, 0.0])}
    control = {"c": np.array([0.0])}
    largest = {"w": np.array([1, -1]) * (2.0**BOUND_BITS - 1)}
    control_largest = {"c": np.array([2.0**EXTRA_BOUND_BITS - 1])}
    counts = UpdateCounts(records=most, annotated=(), recorded=())
    made = FixedPointSums(start, control, NetworkParts(), classes=0, leads=0, most=most)
    weights, extra, _ = made.decode(made.encode(largest, control_largest, counts))
    # With a thousand million records two digits are left behind the point.
    np.testing.assert_allclose(weights["w"], largest["w"], rtol=1e-8)
    np.testing.assert_allclose(extra["c"], control_largest["c"], rtol=1e-8)


@pytest.mark.parametrize("value", [2.0**BOUND_BITS + 1, -(2.0**BOUND_BITS) - 1, np.inf, np.nan])
def test_a_change_without_room_is_refused(value):
    weights = START | {"head": np.full((3, 2), value)}
    counts = UpdateCounts(records=1, annotated=(1, 1, 1), recorded=(1, 1))
    with pytest.raises(ValueError, match="too large"):
        sums().encode(weights, CONTROL, counts)


def test_counts_of_another_task_are_refused():
    counts = UpdateCounts(records=1, annotated=(1, 1), recorded=(1, 1))
    with pytest.raises(ValueError, match="5 counts, not 6"):
        sums().encode(START, CONTROL, counts)


def test_a_round_without_records_is_refused():
    with pytest.raises(ValueError, match="fewer than 1"):
        sums(most=0)


def test_the_average_is_the_true_one_rounded_to_a_float():
    """Eight sites of at most 400 records."""
    given_ = sites(8, 5)
    most = 8 * 400
    made = FixedPointSums(START, CONTROL, NetworkParts(), classes=3, leads=2, most=most)
    weights, _, _ = made.decode(sum(made.encode(*site) for site in given_))
    by = [c.records for _, _, c in given_]
    true = mean_by([w["head"] for w, _, _ in given_], by, by)
    assert np.abs(weights["head"] - true).max() <= np.spacing(np.float32(4.0)) / 2 * 1.001
