"""Rounds over grids that shuffle, fail and lie: the result is the same, or the site is named."""

import hashlib
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.app.user_config import UserConfig

from clients import fit
from clients.app import app as client_app
from fl import wire
from fl.errors import FederationError
from fl.models import build_network
from fl.tasks import RHYTHM
from fl.training import fit as train_plainly
from fl.weights import get_weights, load_weights, set_weights
from server.app import Silent, initial_weights, server_app
from server.grids import LocalGrid
from server.simulate import simulate


class Watching(Silent):
    """A listener that keeps each round's row and each failure."""

    def __init__(self):
        self.rows, self.failed = [], []

    def site(self, round_number, site, doing, note):
        if doing == "failed":
            self.failed.append((round_number, site, note))

    def round(self, row):
        self.rows.append(row)


class ShuffledGrid(LocalGrid):
    """Answers come in the opposite order of the questions."""

    def pull_messages(self, message_ids):
        self._queue.reverse()
        return super().pull_messages(message_ids)


def digest(job):
    weights = load_weights(Path(job.workspace) / "weights" / f"{job.strategy}-last.safetensors")
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode() + weights[name].tobytes())
    return total.hexdigest()


def run(job, client=client_app, grid=LocalGrid):
    """One training in this process: what the listener saw, and the summary."""
    watching, summaries = Watching(), []
    app = server_app(watching, lambda part: summaries.append(part.summary))
    settings = UserConfig({"job": job.model_dump_json()})
    context = Context(
        run_id=1, node_id=1, node_config=UserConfig(), state=RecordDict(), run_config=settings
    )
    app(grid(client, job.config.clients), context)
    return watching, summaries[0]


def spoiled(change, site="site-2", rounds=(1,)):
    """A client that changes one site's update before it leaves."""

    def client(message, context):
        reply = client_app(message, context)
        if message.metadata.message_type == "train" and wire.read_round(message) in rounds:
            trained = wire.read_trained(reply)
            if trained.site == site:
                return change(reply, trained) or reply
        return reply

    return client


def with_weights(**changed):
    def change(reply, trained):
        reply.content["arrays"] = wire.pack({**trained.weights, **changed})

    return change


def raises(reply, trained):
    raise OSError("disk on fire")


def not_a_number(reply, trained):
    bias = trained.weights["head.bias"].copy()
    bias[3] = np.nan
    with_weights(**{"head.bias": bias})(reply, trained)


def fewer_entries(reply, trained):
    reply.content["arrays"] = wire.pack({"head.bias": trained.weights["head.bias"]})


def no_records(reply, trained):
    reply.content["metrics"]["num-examples"] = 0


def no_counts(reply, trained):
    del reply.content["metrics"]["num-examples"]


def one_more_metric(reply, trained):
    reply.content["metrics"]["accuracy"] = 0.99


def one_more_record(reply, trained):
    reply.content["more"] = wire.pack({"x": np.ones(3)})


def counts_of_other_classes(reply, trained):
    reply.content["metrics"]["annotated"] = [3, 3]


def negative_counts(reply, trained):
    reply.content["metrics"]["annotated"] = [-1] * 9


def loss_not_a_number(reply, trained):
    reply.content["metrics"]["loss-sum"] = float("nan")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (raises, "train: OSError: disk on fire"),
        (not_a_number, "head.bias holds NaN or infinite values"),
        (with_weights(**{"head.bias": np.zeros(5, np.float32)}), r"has shape \(5,\), not \(9,\)"),
        (with_weights(**{"head.bias": np.array(["x"] * 9)}), "refused"),
        (fewer_entries, "entries differ from the model's"),
        (no_records, "it trained on no record"),
        (no_counts, "num-examples"),
        (counts_of_other_classes, "annotated"),
        (negative_counts, "annotated"),
        (loss_not_a_number, "loss"),
    ],
)
def test_a_bad_update_is_named_counted_and_left_out(make_job, change, reason):
    job = make_job(3)
    watching, summary = run(job, spoiled(change))
    ((number, site, note),) = watching.failed
    assert (number, site) == (1, "site-2")
    assert [row["participants"] for row in watching.rows] == [2, 3]
    assert [row["failures"] for row in watching.rows] == [1, 0]
    assert re.search(reason, note), note
    assert set(summary["sites"]) == {"site-1", "site-2", "site-3"}


@pytest.mark.parametrize("change", [one_more_metric, one_more_record])
def test_what_a_site_sends_beside_its_update_is_dropped(make_job, change):
    plain, more = make_job(2, name="plain"), make_job(2, name="more")
    run(plain)
    watching, _ = run(more, spoiled(change))
    assert watching.failed == []
    assert digest(more) == digest(plain)


def test_a_site_left_out_changes_the_weights_as_if_it_had_not_been_asked(make_job):
    one, other = make_job(3, name="one", rounds=1), make_job(3, name="other", rounds=1)
    run(one, spoiled(raises))
    run(other, spoiled(no_records))
    assert digest(one) == digest(other)


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
    assert [row["round"] for row in watching.rows] == [2, 3]
    assert watching.failed == []
    assert digest(job) == digest(plain)


def test_a_site_that_cannot_start_stops_the_run(make_job):
    def client(message, context):
        raise OSError("no such folder")

    with pytest.raises(FederationError, match="no such folder"):
        run(make_job(2), client)


class LateGrid(LocalGrid):
    """Sites join one by one, after the server has begun to ask."""

    joined = 0

    def get_node_ids(self):
        self.joined += 1
        return super().get_node_ids()[: self.joined - 1]


def test_a_run_waits_for_sites_that_join_late(make_job):
    watching, _ = run(make_job(3), grid=LateGrid)
    assert [row["participants"] for row in watching.rows] == [3, 3]


def test_sites_that_never_join_are_waited_for_no_longer_than_said(make_job):
    class Empty(LocalGrid):
        def get_node_ids(self):
            return []

    with pytest.raises(FederationError, match="0 of 2 sites joined within"):
        run(make_job(2, timeout=0.2), grid=Empty)


def failing_on(kind):
    def client(message, context):
        reply = client_app(message, context)
        second = context.node_config["partition-id"] == 1
        if message.metadata.message_type == "evaluate" and second:
            config = message.content.config_records["config"]
            if config["split"] == kind:
                raise OSError("disk on fire")
        return reply

    return client


@pytest.mark.parametrize("kind", ["val", "test"])
def test_a_site_that_cannot_be_measured_is_named_and_the_run_goes_on(make_job, kind):
    watching, summary = run(make_job(3), failing_on(kind))
    assert {site for _, site, _ in watching.failed} == {"site-2"}
    assert ("site-2" in summary["sites"]) is (kind == "val")


def lying_about(change):
    """A client whose second site sends a broken evaluation."""

    def client(message, context):
        reply = client_app(message, context)
        second = context.node_config["partition-id"] == 1
        if message.metadata.message_type == "evaluate" and second:
            change(reply)
        return reply

    return client


def misshapen_counts(reply):
    counts = wire.unpack(reply.content["arrays"])
    counts["positive"] = counts["positive"][:4]
    reply.content["arrays"] = wire.pack(counts)


def missing_counts(reply):
    reply.content["arrays"] = wire.pack({})


def report_that_is_no_json(reply):
    reply.content["config"]["report"] = "{"


def report_without_measures(reply):
    reply.content["config"]["report"] = '{"x": 1}'


BROKEN = [misshapen_counts, missing_counts, report_that_is_no_json, report_without_measures]


@pytest.mark.parametrize("change", BROKEN)
def test_a_broken_evaluation_is_named_and_left_out(make_job, change):
    watching, summary = run(make_job(3), lying_about(change))
    assert {site for _, site, _ in watching.failed} == {"site-2"}
    assert "site-2" not in summary["sites"]


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
    state, site = None, fit.open_site(job, 0)
    for number in (1, 2, 3):
        plan = fit._plan(job.config, site.name, number)
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
    assert summary["rounds"] == 2
    assert len(summary["sites"]) == 3


def test_a_fraction_of_the_sites_is_drawn_by_name(make_job):
    job = make_job(3, fraction=0.34, rounds=4)
    watching, _ = run(job)
    assert [row["participants"] for row in watching.rows] == [1, 1, 1, 1]


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
        simulate(server_app(Silent()), client_app, job, 3)
    assert len({digest(job) for job in jobs}) == 1


def test_a_worker_that_is_killed_is_replaced_and_its_site_is_back_in_the_next_round(make_job):
    job = make_job(3, engine="ray", workers=2)

    def client(message: Message, context: Context) -> Message:
        first = message.metadata.message_type == "train" and wire.read_round(message) == 1
        if first and context.node_config["partition-id"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return client_app(message, context)

    watching = Watching()
    simulate(server_app(watching), client, job, 3)
    assert watching.failed == [(1, "site-2", "train: RuntimeError: its worker process died")]
    assert [row["participants"] for row in watching.rows] == [2, 3]


def test_on_ray_every_kind_of_bad_update_is_named_and_the_round_goes_on(make_job):
    job = make_job(6, engine="ray", workers=2, quorum=0.3)

    # All within one function: Ray's workers are sent it whole and do not know this file.
    def client(message: Message, context: Context) -> Message:
        reply = client_app(message, context)
        if message.metadata.message_type != "train" or wire.read_round(message) != 1:
            return reply
        site = int(context.node_config["partition-id"]) + 1
        weights = wire.read_trained(reply).weights
        if site == 1:
            raise OSError("disk on fire")
        if site == 2:
            weights["head.bias"] = np.full_like(weights["head.bias"], np.inf)
        if site == 3:
            weights["head.bias"] = weights["head.bias"][:4]
        if site == 4:
            reply.content["metrics"]["num-examples"] = 0
        reply.content["arrays"] = wire.pack(weights)
        return reply

    watching = Watching()
    simulate(server_app(watching), client, job, 6)
    named = {site: note for _, site, note in watching.failed}
    assert sorted(named) == ["site-1", "site-2", "site-3", "site-4"]
    for site, reason in zip(
        sorted(named), ["disk on fire", "NaN or infinite", "has shape", "no record"], strict=True
    ):
        assert reason in named[site]
    assert [row["participants"] for row in watching.rows] == [2, 6]
    assert [row["failures"] for row in watching.rows] == [4, 0]
