"""What every partition scheme must do, for every entry of PARTITIONERS."""

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


def patients(labels, sizes=None, groups=None):
    """Patients with these main classes; each is a group of its own unless groups are given."""
    n = len(labels)
    names = np.arange(n) if groups is None else groups
    return PatientTable(
        labels=np.asarray(labels),
        sizes=np.ones(n, dtype=np.int64) if sizes is None else np.asarray(sizes),
        groups=np.asarray(names).astype(np.str_),
    )


tables = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 180)), min_size=1, max_size=80).map(
    lambda rows: patients(*zip(*rows, strict=True))
)


def sites_by(scheme, table, seed=0):
    """The site that a scheme gives to each patient of a table."""
    return assign_with_minimum(scheme, table, stream(seed, "deal"))


def classes_at(site_of, labels):
    """How many classes each site has."""
    return [len(np.unique(np.asarray(labels)[site_of == s])) for s in np.unique(site_of)]


@every_scheme
@given(tables, st.data())
def test_every_patient_gets_a_site_and_every_site_gets_patients(scheme, table, data):
    sites = data.draw(st.integers(1, min(len(table), 12)))
    alpha = data.draw(st.sampled_from([0.01, 0.5, 100.0]))
    site_of = sites_by(scheme(sites=sites, alpha=alpha), table)
    assert site_of.shape == table.labels.shape
    counts = np.bincount(site_of, minlength=sites)
    assert len(counts) == sites
    assert counts.min() >= (min(4, len(table) // sites) if scheme.has_minimum else 1)


@every_scheme
@given(tables)
def test_the_same_stream_deals_in_the_same_way(scheme, table):
    sites = min(3, len(table))
    first, second = (sites_by(scheme(sites=sites), table, seed=1) for _ in range(2))
    assert first.tolist() == second.tolist()


@every_scheme
def test_another_stream_deals_differently(scheme):
    table = patients(np.arange(60) % 5)
    first, second = (sites_by(scheme(sites=3), table, seed) for seed in (0, 1))
    assert first.tolist() != second.tolist()


@every_scheme
def test_more_sites_than_patients_is_the_users_mistake(scheme):
    with pytest.raises(ConfigError, match=r"4 sites of one source need .* patients, but it has 3"):
        sites_by(scheme(sites=4), patients([0, 0, 0]))


@given(st.integers(1, 200), st.integers(1, 12))
def test_patients_are_dealt_in_equal_numbers(n, sites):
    site_of = Patients(sites=sites).assign(patients(np.zeros(n)), stream(0, "deal"))
    counts = np.bincount(site_of, minlength=sites)
    assert counts.max() - counts.min() <= 1


@given(tables, st.integers(1, 12))
def test_iid_sites_have_equal_numbers_of_every_class_and_in_all(table, sites):
    site_of = Iid(sites=sites).assign(table, stream(0, "deal"))
    for group in (table.labels >= 0, *(table.labels == c for c in np.unique(table.labels))):
        counts = np.bincount(site_of[group], minlength=sites)
        assert counts.max() - counts.min() <= 1


def test_a_small_alpha_gives_sites_with_few_labels_and_a_large_one_even_sites():
    labels = np.repeat(np.arange(5), 400)

    def largest_share(alpha):
        site_of = Dirichlet(sites=5, alpha=alpha).assign(patients(labels), stream(0, "deal"))
        shares = np.zeros((5, 5))  # (label, site)
        np.add.at(shares, (labels, site_of), 1 / 400)
        return shares.max(axis=1).mean()

    assert largest_share(1000.0) < 0.25
    assert largest_share(0.05) > 0.7


def test_quantity_makes_large_and_small_sites_with_similar_labels():
    sizes = np.tile([1, 3], 1000)
    table = patients(np.arange(2000) // 2 % 2, sizes=sizes)

    def shares(alpha):
        site_of = Quantity(sites=5, alpha=alpha).assign(table, stream(0, "deal"))
        return site_of, np.bincount(site_of, weights=sizes, minlength=5) / sizes.sum()

    assert np.ptp(shares(1000.0)[1]) < 0.05
    site_of, uneven = shares(0.3)
    assert uneven.max() > 0.4
    assert np.mean(table.labels[site_of == uneven.argmax()]) == pytest.approx(0.5, abs=0.1)


@given(tables, st.integers(1, 12))
def test_pathological_sites_have_two_classes_or_as_few_as_leave_no_patient_out(table, sites):
    site_of = Pathological(sites=sites).assign(table, stream(0, "deal"))
    most = max(2, -(-len(np.unique(table.labels)) // sites))
    assert max(classes_at(site_of, table.labels)) <= most


@given(st.lists(st.integers(0, 9), min_size=4, max_size=60), st.integers(1, 4))
def test_natural_sites_keep_every_recorder_whole(recorders, sites):
    table = patients(np.zeros(len(recorders)), groups=recorders)
    if len(set(recorders)) < sites:
        with pytest.raises(ConfigError, match=f"{sites} sites need at least as many groups"):
            sites_by(Natural(sites=sites), table)
        return
    site_of = sites_by(Natural(sites=sites), table)
    assert set(site_of.tolist()) == set(range(sites))
    for recorder in set(recorders):
        assert len(set(site_of[np.array(recorders) == recorder].tolist())) == 1


def test_recorders_are_shared_out_so_that_sites_are_of_equal_size():
    table = patients(np.zeros(40), groups=np.arange(40) // 2)
    counts = np.bincount(sites_by(Natural(sites=4), table))
    assert counts.tolist() == [10] * 4
