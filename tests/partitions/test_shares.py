"""Shares and minimums of schemes and splits, with numbers that can be counted by hand."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.util.random_streams import stream
from partitions.schemes import (
    Dirichlet,
    Iid,
    Natural,
    Pathological,
    PatientTable,
    Quantity,
    Scheme,
    apportion,
    assign_with_minimum,
)
from partitions.splits import CENTRAL_SHARES, SITE_SHARES, split_site, stratify


def patients(labels, sizes=None, groups=None):
    labels = np.asarray(labels)
    return PatientTable(
        labels=labels,
        sizes=np.ones_like(labels) if sizes is None else np.asarray(sizes),
        groups=np.asarray(labels if groups is None else groups).astype(np.str_),
    )


class FixedShares:
    """Stands for a random generator whose Dirichlet draw is given and whose order is kept."""

    def __init__(self, *shares):
        self.shares = np.array(shares)

    def dirichlet(self, alpha):
        assert len(alpha) == len(self.shares)
        return self.shares

    def permutation(self, things):
        return np.arange(things) if np.isscalar(things) else np.asarray(things)


@dataclass(frozen=True, kw_only=True)
class Given(Scheme):
    """A scheme that deals as it is told."""

    counts: tuple[int, ...]

    def assign(self, patients, rng):
        return np.repeat(np.arange(self.sites), self.counts)


@pytest.mark.parametrize(
    ("counts", "filled"),
    [
        ((12, 0), [8, 4]),
        ((6, 5, 1), [4, 4, 4]),
        ((9, 0, 0), [3, 3, 3]),
        ((20, 3, 9), [19, 4, 9]),
        ((20, 4, 9), [20, 4, 9]),
        ((1, 1), [1, 1]),
    ],
)
def test_small_sites_are_filled_up_to_four_patients_by_the_largest(counts, filled):
    scheme = Given(sites=len(counts), counts=counts)
    site_of = assign_with_minimum(scheme, patients(np.zeros(sum(counts))), stream(0, "deal"))
    assert np.bincount(site_of).tolist() == filled


def test_patients_who_stay_keep_their_site():
    scheme = Given(sites=2, counts=(9, 1))
    site_of = assign_with_minimum(scheme, patients(np.zeros(10)), stream(0, "deal"))
    assert site_of[9] == 1
    assert (site_of[:9] == 0).sum() == 6


def test_dirichlet_deals_each_class_in_its_shares():
    labels = np.repeat([0, 1], [10, 100])
    site_of = Dirichlet(sites=3).assign(patients(labels), FixedShares(0.26, 0.14, 0.6))
    assert np.bincount(site_of[labels == 0]).tolist() == [3, 1, 6]
    assert np.bincount(site_of[labels == 1]).tolist() == [26, 14, 60]


@pytest.mark.parametrize("scheme", [Dirichlet, Quantity])
def test_a_very_large_alpha_deals_evenly(scheme):
    site_of = scheme(sites=4, alpha=1e9).assign(patients(np.arange(80) % 2), stream(0, "deal"))
    assert np.bincount(site_of).tolist() == [20] * 4


def test_alpha_is_a_half_unless_it_is_given():
    assert Dirichlet(sites=2).alpha == 0.5


@pytest.mark.parametrize(
    ("sizes", "share", "sites"),
    [
        ((6, 6), 3.5 / 12, [0, 1]),
        ((6, 6), 2.5 / 12, [1, 1]),
        ((6, 6), 8.5 / 12, [0, 1]),
        ((6, 6), 9.5 / 12, [0, 0]),
        ((1, 9, 2), 0.5, [0, 0, 1]),
    ],
)
def test_quantity_shares_out_records_by_the_middle_of_each_patients(sizes, share, sites):
    table = patients(np.zeros(len(sizes), dtype=int), sizes=sizes)
    site_of = Quantity(sites=2).assign(table, FixedShares(share, 1 - share))
    assert site_of.tolist() == sites


def test_pathological_sites_have_two_shards_each():
    labels = np.repeat(np.arange(4), 20)
    site_of = Pathological(sites=4).assign(patients(labels), stream(0, "deal"))
    assert np.bincount(site_of).tolist() == [20] * 4


def test_a_frequent_class_has_more_pathological_shards_of_the_same_size():
    labels = np.repeat([0, 1], [60, 20])
    site_of = Pathological(sites=4).assign(patients(labels), stream(0, "deal"))
    assert np.bincount(site_of).tolist() == [20] * 4
    assert set(np.bincount(site_of[labels == 1], minlength=4).tolist()) <= {0, 10, 20}


def test_more_classes_than_two_per_site_are_all_dealt():
    labels = np.repeat(np.arange(9), 10)
    site_of = Pathological(sites=2).assign(patients(labels), stream(0, "deal"))
    assert [len(np.unique(labels[site_of == site])) for site in (0, 1)] == [5, 5]


def test_natural_sites_are_even_in_records_and_not_in_patients():
    # One recorder has one patient with ten records; ten recorders have one of each.
    table = patients(np.zeros(11, dtype=int), sizes=[10] + [1] * 10, groups=np.arange(11))
    for seed in range(8):
        site_of = Natural(sites=2).assign(table, stream(seed, "deal"))
        records = np.bincount(site_of, weights=table.sizes)
        assert records.min() >= 5
        assert records.sum() == 20


def test_natural_sites_may_be_smaller_than_others_would_be():
    table = patients(np.zeros(10, dtype=int), groups=["a"] + ["b"] * 9)
    site_of = assign_with_minimum(Natural(sites=2), table, stream(0, "deal"))
    assert sorted(np.bincount(site_of).tolist()) == [1, 9]


def test_iid_sites_are_dealt_at_random_within_a_class():
    one, other = (
        Iid(sites=2).assign(patients([0] * 20), stream(seed, "deal")).tolist() for seed in (0, 1)
    )
    assert one != other


@pytest.mark.parametrize(
    ("weights", "total", "counts"),
    [
        ([1, 1, 1], 3, [1, 1, 1]),
        ([9, 1], 12, [10, 2]),
        ([10, 20], 5, [2, 3]),
        ([6, 4], 3, [2, 1]),
        ([4, 6], 3, [1, 2]),
        ([5, 3, 3], 7, [3, 2, 2]),
        ([2, 2, 1], 5, [2, 2, 1]),
        ([], 0, []),
    ],
)
def test_things_are_apportioned_by_largest_remainder(weights, total, counts):
    assert apportion(np.array(weights, dtype=float), total).tolist() == counts


def test_patients_are_taken_in_the_order_asked_for():
    taken = patients([5, 6, 7], sizes=[1, 2, 3]).take(np.array([2, 0]))
    assert (taken.labels.tolist(), taken.sizes.tolist()) == ([7, 5], [3, 1])
    assert taken.groups.tolist() == ["7", "5"]
    assert len(taken) == 2


def subsets(labels, shares, seed=0):
    """The subset of patients who have one class each."""
    classes = max(labels, default=0) + 1
    return stratify(np.eye(classes, dtype=bool)[labels], shares, stream(seed, "split"))


@pytest.mark.parametrize(
    ("shares", "n", "sizes"), [(SITE_SHARES, 40, [28, 6, 6]), (CENTRAL_SHARES, 40, [34, 6])]
)
def test_the_splits_have_the_shares_that_the_documents_state(shares, n, sizes):
    nobody_has_a_class = np.zeros((n, 3), dtype=bool)
    assert np.bincount(stratify(nobody_has_a_class, shares, stream(0, "s"))).tolist() == sizes
    everybody_has_one = subsets(np.zeros(n, dtype=int), shares)
    assert np.bincount(everybody_has_one).tolist() == sizes


@given(st.integers(0, 20))
def test_each_class_is_divided_in_the_shares(seed):
    labels = np.repeat(np.arange(3), [20, 40, 60])
    subset = subsets(labels, SITE_SHARES, seed)
    for label, sizes in enumerate([[14, 3, 3], [28, 6, 6], [42, 9, 9]]):
        assert np.bincount(subset[labels == label]).tolist() == sizes


@given(st.integers(0, 20))
def test_a_class_of_three_patients_is_in_every_split_beside_a_frequent_one(seed):
    present = np.ones((40, 2), dtype=bool)
    present[3:, 1] = False
    subset = stratify(present, SITE_SHARES, stream(seed, "split"))
    assert sorted(subset[:3].tolist()) == [0, 1, 2]
    assert np.bincount(subset).tolist() == [28, 6, 6]


def test_a_class_of_two_patients_is_where_most_is_needed():
    assert subsets(np.zeros(2, dtype=int), SITE_SHARES).tolist() == [0, 0]


@given(st.integers(0, 20), st.integers(3, 6))
def test_a_small_site_has_every_split_and_trains_on_the_rest(seed, n):
    splits = split_site(np.ones((n, 2), dtype=bool), stream(seed, "split")).tolist()
    assert sorted(splits) == sorted(["val", "test"] + ["train"] * (n - 2))
