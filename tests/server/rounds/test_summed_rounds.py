"""Rounds whose updates workers add up: the same bits, the same files, the same failures by name."""

import numpy as np
import pytest
from support.faulty_clients import raises, spoiled, with_weights, without_validation
from support.rounds import digest, history, run
from support.several_sites_grid import SeveralSitesGrid

from fl.messages.flower_arrays import to_array_record
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
