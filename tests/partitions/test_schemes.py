"""What every partitioner promises, for every entry of PARTITIONERS."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.util.errors import ConfigError
from fl.util.random_streams import stream
from partitions.schemes import (
    PARTITIONERS,
    Dirichlet,
    Iid,
    Natural,
    Pathological,
    Patients,
    PatientTable,
    Quantity,
    assign_with_minimum,
)

every_scheme = pytest.mark.parametrize("scheme", PARTITIONERS.values(), ids=PARTITIONERS)


def people(labels, sizes=None, groups=None):
    """Patients of these main classes; each a group of their own unless said otherwise."""
    n = len(labels)
    names = np.arange(n) if groups is None else groups
    return PatientTable(
        labels=np.asarray(labels),
        sizes=np.ones(n, dtype=np.int64) if sizes is None else np.asarray(sizes),
        groups=np.asarray(names).astype(np.str_),
    )


crowds = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 180)), min_size=1, max_size=80).map(
    lambda rows: people(*zip(*rows, strict=True))
)


def deal_out(scheme, crowd, seed=0):
    return assign_with_minimum(scheme, crowd, stream(seed, "deal"))


def classes_at(site_of, labels):
    """How many classes each site holds."""
    return [len(np.unique(np.asarray(labels)[site_of == s])) for s in np.unique(site_of)]


@every_scheme
@given(crowds, st.data())
def test_every_patient_gets_a_site_and_every_site_gets_patients(scheme, crowd, data):
    sites = data.draw(st.integers(1, min(len(crowd), 12)))
    alpha = data.draw(st.sampled_from([0.01, 0.5, 100.0]))
    site_of = deal_out(scheme(sites=sites, alpha=alpha), crowd)
    assert site_of.shape == crowd.labels.shape
    counts = np.bincount(site_of, minlength=sites)
    assert len(counts) == sites
    assert counts.min() >= (min(4, len(crowd) // sites) if scheme.topped_up else 1)


@every_scheme
@given(crowds)
def test_the_same_stream_deals_alike(scheme, crowd):
    sites = min(3, len(crowd))
    one, other = (deal_out(scheme(sites=sites), crowd, seed=1) for _ in range(2))
    assert one.tolist() == other.tolist()


@every_scheme
def test_another_stream_deals_otherwise(scheme):
    crowd = people(np.arange(60) % 5)
    one, other = (deal_out(scheme(sites=3), crowd, seed) for seed in (0, 1))
    assert one.tolist() != other.tolist()


@every_scheme
def test_more_sites_than_patients_is_the_users_mistake(scheme):
    with pytest.raises(ConfigError, match="4 sites, need at least as many patients; it has 3"):
        deal_out(scheme(sites=4), people([0, 0, 0]))


@given(st.integers(1, 200), st.integers(1, 12))
def test_patients_are_dealt_in_equal_numbers(n, sites):
    site_of = Patients(sites=sites).assign(people(np.zeros(n)), stream(0, "deal"))
    counts = np.bincount(site_of, minlength=sites)
    assert counts.max() - counts.min() <= 1


@given(crowds, st.integers(1, 12))
def test_iid_sites_are_alike_in_every_class_and_in_size(crowd, sites):
    site_of = Iid(sites=sites).assign(crowd, stream(0, "deal"))
    for mine in (crowd.labels >= 0, *(crowd.labels == c for c in np.unique(crowd.labels))):
        counts = np.bincount(site_of[mine], minlength=sites)
        assert counts.max() - counts.min() <= 1


def test_a_small_alpha_gives_sites_of_few_labels_and_a_large_one_even_sites():
    labels = np.repeat(np.arange(5), 400)

    def largest_share(alpha):
        site_of = Dirichlet(sites=5, alpha=alpha).assign(people(labels), stream(0, "deal"))
        table = np.zeros((5, 5))
        np.add.at(table, (labels, site_of), 1 / 400)
        return table.max(axis=1).mean()

    assert largest_share(1000.0) < 0.25
    assert largest_share(0.05) > 0.7


def test_quantity_makes_large_and_small_sites_of_records_but_leaves_the_labels_alike():
    sizes = np.tile([1, 3], 1000)
    crowd = people(np.arange(2000) // 2 % 2, sizes=sizes)

    def shares(alpha):
        site_of = Quantity(sites=5, alpha=alpha).assign(crowd, stream(0, "deal"))
        return site_of, np.bincount(site_of, weights=sizes, minlength=5) / sizes.sum()

    assert np.ptp(shares(1000.0)[1]) < 0.05
    site_of, uneven = shares(0.3)
    assert uneven.max() > 0.4
    assert np.mean(crowd.labels[site_of == uneven.argmax()]) == pytest.approx(0.5, abs=0.1)


@given(crowds, st.integers(1, 12))
def test_pathological_sites_hold_two_classes_or_as_few_as_leave_nobody_out(crowd, sites):
    site_of = Pathological(sites=sites).assign(crowd, stream(0, "deal"))
    most = max(2, -(-len(np.unique(crowd.labels)) // sites))
    assert max(classes_at(site_of, crowd.labels)) <= most


@given(st.lists(st.integers(0, 9), min_size=4, max_size=60), st.integers(1, 4))
def test_natural_sites_keep_every_recorder_whole(recorders, sites):
    crowd = people(np.zeros(len(recorders)), groups=recorders)
    if len(set(recorders)) < sites:
        with pytest.raises(ConfigError, match=f"{sites} sites need at least as many groups"):
            deal_out(Natural(sites=sites), crowd)
        return
    site_of = deal_out(Natural(sites=sites), crowd)
    assert set(site_of.tolist()) == set(range(sites))
    for recorder in set(recorders):
        assert len(set(site_of[np.array(recorders) == recorder].tolist())) == 1


def test_recorders_that_share_a_site_make_it_no_larger_than_need_be():
    crowd = people(np.zeros(40), groups=np.arange(40) // 2)
    counts = np.bincount(deal_out(Natural(sites=4), crowd))
    assert counts.tolist() == [10] * 4
