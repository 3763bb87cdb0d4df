"""What every partitioner promises, for every entry of PARTITIONERS."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.errors import ConfigError
from fl.seeds import stream
from partitions import PARTITIONERS
from partitions.schemes import Dirichlet, Patients, assign_all

every_scheme = pytest.mark.parametrize("scheme", PARTITIONERS.values(), ids=PARTITIONERS)
main_classes = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


@every_scheme
@given(main_classes, st.data())
def test_every_patient_gets_a_site_and_every_site_gets_patients(scheme, labels, data):
    sites = data.draw(st.integers(1, min(len(labels), 12)))
    alpha = data.draw(st.sampled_from([0.01, 0.5, 100.0]))
    site_of = assign_all(scheme(sites=sites, alpha=alpha), labels, stream(0, "deal"))
    assert site_of.shape == labels.shape
    counts = np.bincount(site_of, minlength=sites)
    assert len(counts) == sites
    assert counts.min() >= min(4, len(labels) // sites)


@every_scheme
@given(main_classes)
def test_the_same_stream_deals_alike(scheme, labels):
    one, other = (scheme(sites=3).assign(labels, stream(1, "deal")) for _ in range(2))
    assert one.tolist() == other.tolist()


@every_scheme
def test_more_sites_than_patients_is_the_users_mistake(scheme):
    with pytest.raises(ConfigError, match="--clients: 4 sites need at least as many patients; 3"):
        assign_all(scheme(sites=4), np.zeros(3, dtype=np.int64), stream(0, "deal"))


@given(st.integers(1, 200), st.integers(1, 12))
def test_patients_are_dealt_in_equal_numbers(n, sites):
    counts = np.bincount(
        Patients(sites=sites).assign(np.zeros(n, dtype=np.int64), stream(0, "deal")),
        minlength=sites,
    )
    assert counts.max() - counts.min() <= 1


def test_a_small_alpha_gives_sites_of_few_labels_and_a_large_one_even_sites():
    labels = np.repeat(np.arange(5), 400)

    def largest_share(alpha):
        site_of = Dirichlet(sites=5, alpha=alpha).assign(labels, stream(0, "deal"))
        table = np.zeros((5, 5))
        np.add.at(table, (labels, site_of), 1 / 400)
        return table.max(axis=1).mean()

    assert largest_share(1000.0) < 0.25
    assert largest_share(0.05) > 0.7
