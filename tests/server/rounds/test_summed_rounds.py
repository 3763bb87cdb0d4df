"""Rounds whose updates workers add up: the same bits, the same files, the same failures by name."""

import numpy as np
import pytest
from support.faulty_clients import raises, spoiled, with_weights, without_validation
from support.rounds import digest, history, run
from support.several_sites_grid import SeveralSitesGrid

from clients.app import app as client_app
from fl.messages.flower_arrays import to_array_record
from server.aggregation import kept_updates, update_store
from server.aggregation.update_sums import SumUpdates
from server.app import initial_weights


class Watched(SeveralSitesGrid):
    """Keeps the grids that were made."""

    made = []  # noqa: RUF012  (of one test at a time)

    def __init__(self, *given):
        super().__init__(*given)
        self.made.append(self)


@pytest.fixture
def both(make_job):
    """A function that runs a job with and without sums, and compares what both leave behind."""

    def compare(client=None, sites=6, **settings):
        found = []
        given = () if client is None else (client,)
        Watched.made.clear()
        for name, grid in (("plain", None), ("summed", Watched)):
            job = make_job(sites, name=name, **settings)
            named = {} if grid is None else {"grid": grid}
            watching, summary = run(job, *given, **named)
            found.append((digest(job), history(job), watching.failed, summary.to_json()))
        plain, summed = found
        assert plain == summed
        return plain[2], [n for grid in Watched.made for n in grid.summed]

    return compare


@pytest.mark.parametrize("strategy", ["fedavg", "fedbn", "scaffold", "fedadam"])
def test_a_worker_adds_up_what_its_sites_send_and_no_bit_differs(both, strategy):
    failed, summed = both(strategy=strategy)
    assert failed == []
    assert summed
    assert sum(summed) >= 2 * 4  # of the six sites in two rounds


def test_a_strategy_that_compares_updates_is_sent_each(both):
    assert both(strategy="fedmedian")[1] == []


def test_half_of_the_sites_train_and_the_others_validate(both):
    assert both(fraction=0.5)[1]


@pytest.mark.parametrize("change", [raises, with_weights(**{"head.bias": np.zeros(1)})])
def test_a_site_whose_update_cannot_be_added_is_left_out_alone_and_named(both, change):
    failed, summed = both(spoiled(change))
    assert {(number, site) for number, site, _ in failed} == {(1, "site-2")}
    assert summed


def test_validation_that_is_missing_is_asked_for_again(both):
    both(spoiled(without_validation, rounds=(2,)))


def longer(factor):
    """A change of an update to `factor` times its length."""

    def change(reply, trained):
        start = change.start
        reply.content["arrays"] = to_array_record(
            {
                name: (start[name] + factor * (value - start[name])).astype(value.dtype)
                for name, value in trained.weights.items()
            }
        )

    return change


@pytest.fixture
def initial(make_job):
    return initial_weights(make_job(6, name="initial"))


@pytest.mark.parametrize("suspicious", [0.5, 1000.0])
def test_an_update_that_is_too_long_is_clipped_whether_or_not_it_was_in_a_sum(
    both, initial, monkeypatch, suspicious
):
    """With 1,000 no call finds it suspicious, and the sites of its sum are asked again."""
    monkeypatch.setattr("server.aggregation.update_sums.SUSPICIOUS", suspicious)
    change = longer(100.0)
    change.start = initial
    _, summed = both(spoiled(change))
    assert summed


@pytest.fixture
def streamed(make_job, monkeypatch):
    """Runs a job with updates in memory, and with updates added up in groups of three."""

    def compare(client=client_app, sites=7, **settings):
        plain = make_job(sites, name="plain", **settings)
        watching, summary = run(plain, client)
        added = []

        def add_up(self, updates, others=()):
            total = original(self, updates, others)
            added.append(total.sites if total else set())
            return total

        original = SumUpdates.add_up
        monkeypatch.setattr(SumUpdates, "add_up", add_up)
        monkeypatch.setattr(update_store, "MAX_BYTES_IN_MEMORY", 0)
        job = make_job(sites, name="streamed", **settings)
        again, streamed_summary = run(job, client)
        assert digest(job) == digest(plain)
        assert history(job) == history(plain)
        assert again.failed == watching.failed
        assert streamed_summary.to_json() == summary.to_json()
        return added

    return compare


@pytest.mark.parametrize("strategy", ["fedavg", "fedbn", "scaffold", "fedadam"])
def test_updates_that_fill_memory_are_added_up_as_they_come_and_no_bit_differs(streamed, strategy):
    added = streamed(strategy=strategy)
    assert [len(sites) for sites in added] == [3, 3, 3, 3]  # of seven sites, in two rounds


def test_more_groups_than_sums_are_kept_share_a_sum(streamed, monkeypatch):
    monkeypatch.setattr(kept_updates, "MOST_SUMS", 1)
    assert len(streamed()) == 4


def test_a_strategy_that_compares_updates_adds_nothing_up(streamed):
    assert streamed(strategy="fedmedian") == []


@pytest.mark.parametrize("site", ["site-1", "site-2", "site-7"])
@pytest.mark.parametrize("suspicious", [0.5, 1000.0])
def test_a_long_update_is_clipped_whether_it_comes_early_or_late(
    streamed, initial, monkeypatch, site, suspicious
):
    """With 1,000 no group finds it suspicious, and the sites of its sum are asked again."""
    monkeypatch.setattr("server.aggregation.update_sums.SUSPICIOUS", suspicious)
    change = longer(100.0)
    change.start = initial
    added = streamed(spoiled(change, site=site))
    assert any(added)


def test_a_site_that_is_refused_is_in_no_sum(streamed):
    added = streamed(spoiled(with_weights(**{"head.bias": np.zeros(1)})))
    assert "site-2" not in added[0]
