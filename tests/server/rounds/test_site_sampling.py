"""Which sites train in a round, and who is asked first."""

import pytest
from support.prepared_sites import prepared_job

from fl.messages.payloads import SiteInfo
from server.rounds.site_requests import Federation
from server.rounds.site_sampling import longest_first, sample_sites


def drawn(tmp_path, n_train, number=1, n_seen=(), **settings):
    """The sites of a round, of a federation whose sites have these training records."""
    sites = {
        f"site-{i}": SiteInfo(site=f"site-{i}", n_train=n, n_val=1, n_test=1, n_records=n)
        for i, n in enumerate(n_train, start=1)
    }
    job = prepared_job(tmp_path, len(sites), **settings)
    federation = Federation(grid=None, job=job, nodes={}, sites=sites, listener=None)
    return sample_sites(federation, number, dict(n_seen))


def test_a_site_trains_if_it_has_one_record_and_not_if_it_has_none(tmp_path):
    assert drawn(tmp_path, (1, 0, 5)) == ["site-3", "site-1"]


@pytest.mark.parametrize(
    ("fraction", "count"), [(0.01, 1), (0.25, 1), (0.4, 2), (0.5, 2), (0.75, 3), (1.0, 4)]
)
def test_a_fraction_of_the_sites_that_can_train_is_drawn(tmp_path, fraction, count):
    found = drawn(tmp_path, (3, 3, 0, 3, 3), fraction=fraction)
    assert len(found) == len(set(found)) == count
    assert "site-3" not in found


def test_every_site_is_drawn_in_some_round_and_the_same_ones_each_time(tmp_path):
    rounds = [drawn(tmp_path, (3, 3, 3), number, fraction=0.34) for number in range(1, 30)]
    assert {site for sites in rounds for site in sites} == {"site-1", "site-2", "site-3"}
    assert rounds == [drawn(tmp_path, (3, 3, 3), n, fraction=0.34) for n in range(1, 30)]


def test_sites_are_asked_by_their_records_and_then_by_the_examples_of_their_last_training(tmp_path):
    assert drawn(tmp_path, (2, 9, 5)) == ["site-2", "site-3", "site-1"]
    assert drawn(tmp_path, (2, 9, 5), n_seen={"site-1": 7}) == ["site-2", "site-1", "site-3"]


def test_those_with_the_most_come_first_and_equal_ones_by_name():
    load = {"a": 1, "b": 3, "c": 3, "d": 2}
    assert longest_first(["d", "c", "b", "a"], load) == ["b", "c", "d", "a"]
