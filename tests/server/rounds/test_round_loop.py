"""The round loop: the same result over any grid, and after any interruption."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message
from support.faulty_clients import raises, spoiled
from support.rounds import Watching, digest, history, run

from clients.app import app as client_app
from clients.simulated_sites import open_site
from clients.training_plan import training_plan
from fl.ecg.tasks import RHYTHM
from fl.messages.flower_codec import read_round
from fl.models import build_network
from fl.training.loop import fit as train_plainly
from fl.training.state_dict import get_weights, load_weights, set_weights
from fl.util.errors import FederationError
from server.app import SilentListener, initial_weights, server_app
from server.engines.in_process import LocalGrid
from server.engines.simulation import simulate


class ShuffledGrid(LocalGrid):
    """Replies come in the opposite order of the requests."""

    def pull_messages(self, message_ids):
        self._queue.reverse()
        return super().pull_messages(message_ids)


def test_below_the_quorum_the_run_stops_and_names_the_sites(make_job):
    job = make_job(3, quorum=1.0)
    with pytest.raises(FederationError, match=r"Round 1: 2 of 3 .* quorum is 3 .*site-2: .*fire"):
        run(job, spoiled(raises))


def test_a_run_that_stopped_below_the_quorum_goes_on_as_if_it_had_not(make_job):
    plain = make_job(3, name="plain", rounds=3, quorum=1.0)
    run(plain)
    job = make_job(3, name="stopped", rounds=3, quorum=1.0)
    with pytest.raises(FederationError, match=r"Round 2: 2 of 3"):
        run(job, spoiled(raises, rounds=(2,)))
    watching, _ = run(job)
    assert [row.round for row in watching.rows] == [2, 3]
    assert watching.failed == []
    assert digest(job) == digest(plain)


class Stopped(BaseException):
    """Like an interrupt, which nothing catches."""


@pytest.mark.parametrize(
    ("strategy", "after"), [("scaffold", 1), ("fedbn", 4), ("scaffold", 7), ("fedbn", 10)]
)
def test_a_run_that_stops_after_any_request_goes_on_as_if_it_had_not(make_job, strategy, after):
    settings = {"rounds": 3, "strategy": strategy, "fraction": 0.7}
    plain = make_job(3, name="plain", **settings)
    run(plain)
    job = make_job(3, name="stopped", **settings)
    left = iter(range(after))

    def client(message, context):
        if message.metadata.message_type != "query" and next(left, None) is None:
            raise Stopped
        return client_app(message, context)

    with pytest.raises(Stopped):
        run(job, client)
    run(job)
    assert digest(job) == digest(plain)
    assert history(job) == history(plain)


def test_the_order_of_replies_does_not_matter(make_job):
    one, other = make_job(3, name="one"), make_job(3, name="other")
    run(one)
    run(other, grid=ShuffledGrid)
    assert digest(one) == digest(other)


def test_one_site_under_fedavg_is_plain_training(make_job):
    job = make_job(1, rounds=3)
    run(job)
    network = build_network("resnet1d", RHYTHM)
    set_weights(network, initial_weights(job))
    state, site = None, open_site(job, 0)
    for number in (1, 2, 3):
        plan = training_plan(job.config, site.name, number)
        state = train_plainly(network, site.splits["train"], plan, state).state
    expected = get_weights(network)
    found = load_weights(Path(job.workspace) / "weights" / "fedavg-last.safetensors")
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_fedprox_with_mu_of_zero_is_fedavg_and_with_one_it_is_not(make_job):
    digests = {}
    for name, settings in {
        "fedavg": {},
        "mu-0": {"strategy": "fedprox", "mu": 0.0},
        "mu-1": {"strategy": "fedprox", "mu": 1.0},
    }.items():
        job = make_job(2, name=name, **settings)
        run(job)
        digests[name] = digest(job)
    assert digests["mu-0"] == digests["fedavg"] != digests["mu-1"]


@pytest.mark.parametrize("strategy", ["fedbn", "scaffold", "finetune", "fedadam", "krum"])
def test_every_kind_of_strategy_runs_to_its_end(make_job, strategy):
    watching, summary = run(make_job(3, strategy=strategy, fraction=0.7))
    assert not watching.failed
    assert summary.rounds == 2
    assert len(summary.sites) == 3


def test_a_fraction_of_the_sites_is_drawn_by_name(make_job):
    job = make_job(3, fraction=0.34, rounds=4)
    watching, _ = run(job)
    assert [row.participants for row in watching.rows] == [1, 1, 1, 1]


def test_rounds_that_are_done_are_not_done_again(make_job):
    job = make_job(2, rounds=2)
    run(job)
    before = digest(job)
    watching, _ = run(job)
    assert watching.rows == []
    assert digest(job) == before


def test_every_engine_gives_the_same_weights(make_job):
    """In this process, and on one Ray worker or two."""
    jobs = [
        make_job(3, name="local"),
        make_job(3, name="ray-1", engine="ray", workers=1),
        make_job(3, name="ray-2", engine="ray", workers=2),
    ]
    for job in jobs:
        simulate(server_app(SilentListener()), client_app, job, 3)
    assert len({digest(job) for job in jobs}) == 1


def test_a_worker_that_is_killed_is_replaced_and_its_site_is_back_in_the_next_round(make_job):
    job = make_job(3, engine="ray", workers=2)

    def client(message: Message, context: Context) -> Message:
        first = message.metadata.message_type == "train" and read_round(message) == 1
        if first and context.node_config["partition-id"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return client_app(message, context)

    watching = Watching()
    simulate(server_app(watching), client, job, 3)
    assert watching.failed == [(1, "site-2", "train: RuntimeError: its worker process died")]
    assert [row.participants for row in watching.rows] == [2, 3]
