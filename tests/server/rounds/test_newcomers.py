"""A hospital that is connected after a run began takes part from the next round on."""

from dataclasses import replace

import pytest
from flwr.app import Error, Message
from support.prepared_sites import PreparedSites, prepared_job
from support.rounds import Watching, run

from fl.messages.flower_codec import CLIENT_FAILED, read_round
from server.engines.in_process import LocalGrid
from server.rounds.newcomers import admit_newcomers
from server.rounds.site_requests import discover_sites

NODES = {"site-1": 1001, "site-2": 1002, "site-3": 1003}


def deployed(folder, **settings):
    """A run of hospitals, which begins when two of the three are connected."""
    job = prepared_job(folder, sites=2, rounds=3, **settings)
    return job.model_copy(update={"run": "r-1", "nodes": NODES})


class Late(LocalGrid):
    """The second of three hospitals is connected once the first round's update is sent."""

    arrives = 1

    def __init__(self, client, n):
        super().__init__(client, 3)
        self.round = 0

    def get_node_ids(self):
        return [n for n in self.contexts if n != NODES["site-2"] or self.round >= self.arrives]

    def submit(self, message):
        if message.metadata.message_type == "train":
            self.round = read_round(message)
        super().submit(message)


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedmedian"])
def test_it_trains_from_the_next_round_on_and_is_tested(tmp_path, strategy):
    client = PreparedSites()
    watching, summary = run(deployed(tmp_path, strategy=strategy), client, Late)
    assert [row.participants for row in watching.rows] == [2, 3, 3]
    assert watching.failed == []
    assert {site for kind, site in client.of(1) if "train" in kind} == {"site-1", "site-3"}
    assert {site for kind, site in client.of(2) if "train" in kind} == set(NODES)
    assert list(summary.sites) == list(NODES)


def test_a_hospital_that_never_comes_is_no_failure(tmp_path):
    never = type("Never", (Late,), {"arrives": 99})
    watching, _ = run(deployed(tmp_path), PreparedSites(), never)
    assert [row.participants for row in watching.rows] == [2, 2, 2]
    assert watching.failed == []


def test_first_words_that_are_refused_are_named_once(tmp_path):
    asked = []

    def client(message, context):
        late = context.node_config["partition-id"] == 1
        if message.metadata.message_type == "query" and late:
            asked.append(1)
            return Message(Error(CLIENT_FAILED, "it runs\nanother version"), reply_to=message)
        return PreparedSites()(message, context)

    watching, _ = run(deployed(tmp_path), client, Late)
    assert watching.failed == [(2, "site-2", "it runs another version")]
    assert [row.failures for row in watching.rows] == [0, 1, 0]
    assert [row.participants for row in watching.rows] == [2, 2, 2]
    assert asked == [1]


def test_a_hospital_may_not_speak_for_another(tmp_path):
    grid, job = Late(PreparedSites(), 3), deployed(tmp_path)
    swapped = job.model_copy(update={"nodes": NODES | {"site-2": 1004, "site-4": 1002}})
    federation = replace(discover_sites(grid, job, Watching()), job=swapped)
    grid.round = 1
    (failure,) = admit_newcomers(federation, 2)
    assert failure["site"] == "site-4"
    assert "for which its key was not approved" in failure["reason"]
    assert list(federation.sites) == ["site-1", "site-3"]


def test_sites_stay_in_order_of_name(tmp_path):
    grid = Late(PreparedSites(), 3)
    federation = discover_sites(grid, deployed(tmp_path), Watching())
    assert list(federation.sites) == list(federation.nodes) == ["site-1", "site-3"]
    assert admit_newcomers(federation, 1) == []
    grid.round = 1
    assert admit_newcomers(federation, 2) == []
    assert list(federation.sites) == list(federation.nodes) == list(NODES)


def test_a_simulation_has_all_its_sites_from_the_beginning(tmp_path):
    job = prepared_job(tmp_path)
    found = discover_sites(LocalGrid(PreparedSites(), 3), job, Watching())
    federation = replace(found, grid=None)
    assert admit_newcomers(federation, 1) == []
