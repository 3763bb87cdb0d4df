"""Rounds over grids that shuffle, fail and lie: the result is the same, or the site is named."""

import csv
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message
from support.rounds import Watching, digest, run

from clients.app import app as client_app
from clients.simulated_sites import open_site
from clients.training_plan import training_plan
from fl.ecg.tasks import RHYTHM
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.flower_codec import read_round, read_training_reply
from fl.models import build_network
from fl.training.loop import fit as train_plainly
from fl.training.state_dict import get_weights, load_weights, set_weights
from fl.util.errors import FederationError
from server.app import SilentListener, initial_weights, server_app
from server.engines.in_process import LocalGrid
from server.engines.simulation import simulate


class ShuffledGrid(LocalGrid):
    """Answers come in the opposite order of the questions."""

    def pull_messages(self, message_ids):
        self._queue.reverse()
        return super().pull_messages(message_ids)


def spoiled(change, site="site-2", rounds=(1,)):
    """A client that changes one site's update before it leaves."""

    def client(message, context):
        reply = client_app(message, context)
        if message.metadata.message_type == "train" and read_round(message) in rounds:
            trained = read_training_reply(reply)
            if trained.site == site:
                return change(reply, trained) or reply
        return reply

    return client


def with_weights(**changed):
    def change(reply, trained):
        reply.content["arrays"] = to_array_record({**trained.weights, **changed})

    return change


def raises(reply, trained):
    raise OSError("disk on fire")


def not_a_number(reply, trained):
    bias = trained.weights["head.bias"].copy()
    bias[3] = np.nan
    with_weights(**{"head.bias": bias})(reply, trained)


def fewer_entries(reply, trained):
    reply.content["arrays"] = to_array_record({"head.bias": trained.weights["head.bias"]})


def no_records(reply, trained):
    reply.content["metrics"]["num-examples"] = 0


def no_counts(reply, trained):
    del reply.content["metrics"]["num-examples"]


def one_more_metric(reply, trained):
    reply.content["metrics"]["accuracy"] = 0.99


def one_more_record(reply, trained):
    reply.content["more"] = to_array_record({"x": np.ones(3)})


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
    assert [row.participants for row in watching.rows] == [2, 3]
    assert [row.failures for row in watching.rows] == [1, 0]
    assert re.search(reason, note), note
    assert set(summary.sites) == {"site-1", "site-2", "site-3"}


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
    assert [row.round for row in watching.rows] == [2, 3]
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
    assert [row.participants for row in watching.rows] == [3, 3]


def test_sites_that_never_join_are_waited_for_no_longer_than_said(make_job):
    class Empty(LocalGrid):
        def get_node_ids(self):
            return []

    with pytest.raises(FederationError, match="0 of 2 sites joined within"):
        run(make_job(2, timeout=0.2), grid=Empty)


class Seen:
    """A client that notes every visit: kind, round and site."""

    def __init__(self, client=client_app):
        self.client, self.visits = client, []

    def __call__(self, message, context):
        kind = message.metadata.message_type
        if kind != "query":
            site = f"site-{int(context.node_config['partition-id']) + 1}"
            self.visits.append((kind, read_round(message), site))
        return self.client(message, context)

    def of(self, kind):
        return [visit[1:] for visit in self.visits if visit[0] == kind]


def test_the_sites_validate_a_round_where_they_train_the_next(make_job):
    seen = Seen()
    watching, _ = run(make_job(3, rounds=3), seen)
    sites = ["site-1", "site-2", "site-3"]
    assert sorted(seen.of("train")) == [(number, site) for number in (1, 2, 3) for site in sites]
    # Validation of the last round, and test of the best.
    best = max(watching.rows, key=lambda row: row.val_macro_auroc).round
    assert sorted(seen.of("evaluate")) == sorted((n, s) for n in (3, best) for s in sites)
    assert [row.round for row in watching.rows] == [1, 2, 3]


def test_sites_that_do_not_train_validate_meanwhile(make_job):
    job = make_job(3, rounds=3, fraction=0.34)
    seen = Seen()
    run(job, seen)
    validated = [row for row in table(job, "sites.csv") if row["split"] == "val"]
    assert len(validated) == 3 * 3
    trained = seen.of("train")
    assert [number for number, _ in trained] == [1, 2, 3]
    order = seen.visits.index(("train", *trained[1]))
    meanwhile = seen.visits[order + 1 : seen.visits.index(("train", *trained[2]))]
    others = {"site-1", "site-2", "site-3"} - {trained[1][1]}
    assert sorted(meanwhile) == [("evaluate", 1, site) for site in sorted(others)]


def table(job, name):
    with (Path(job.workspace) / name).open(newline="") as file:
        return list(csv.DictReader(file))


def history(job):
    """Both tables, without what differs from run to run."""
    return [[row | {"seconds": ""} for row in table(job, n)] for n in ("rounds.csv", "sites.csv")]


def without_measures(reply, trained):
    for name in [name for name in reply.content if name.startswith("measured-")]:
        del reply.content[name]


def measures_of_other_classes(reply, trained):
    if "measured-arrays" in reply.content:
        reply.content["measured-arrays"] = to_array_record({"positive": np.ones((2, 2))})


@pytest.mark.parametrize(
    ("change", "strategy"),
    [
        (measures_of_other_classes, "fedavg"),
        (without_measures, "fedbn"),
        (without_measures, "scaffold"),
    ],
)
def test_measures_that_did_not_come_with_the_training_are_asked_for_and_the_same(
    make_job, change, strategy
):
    settings = {"rounds": 3, "strategy": strategy, "fraction": 0.7}
    plain, other = make_job(3, name="plain", **settings), make_job(3, name="other", **settings)
    run(plain)
    seen = Seen(spoiled(change, "site-1", (2, 3)))
    watching, _ = run(other, seen)
    again = [visit for visit in seen.of("evaluate") if visit[1] == "site-1"]
    assert [number for number, _ in again][:3] == [1, 2, 3]
    assert watching.failed == []
    assert digest(other) == digest(plain)
    assert history(other) == history(plain)


def test_a_site_that_fails_in_training_still_validates_what_it_was_sent(make_job):
    job = make_job(3, rounds=3)
    watching, _ = run(job, spoiled(raises, rounds=(2,)))
    assert watching.failed == [(2, "site-2", "train: OSError: disk on fire")]
    assert [row.failures for row in watching.rows] == [0, 1, 0]
    validated = [row["round"] for row in table(job, "sites.csv") if row["site"] == "site-2"]
    assert validated[:3] == ["1", "2", "3"]


def test_no_round_is_trained_that_patience_does_not_wait_for(make_job):
    seen = Seen()
    watching, summary = run(make_job(3, rounds=30, patience=2, lr=0.1), seen)
    rounds = summary.rounds
    assert rounds == summary.best_round + 2 < 30
    assert len(seen.of("train")) == 3 * rounds
    assert [row.round for row in watching.rows] == list(range(1, rounds + 1))


class Stopped(BaseException):
    """As an interrupt: nobody catches it."""


@pytest.mark.parametrize(
    ("strategy", "visit"), [("scaffold", 1), ("fedbn", 4), ("scaffold", 7), ("fedbn", 10)]
)
def test_a_run_that_stops_at_any_visit_goes_on_as_if_it_had_not(make_job, strategy, visit):
    settings = {"rounds": 3, "strategy": strategy, "fraction": 0.7}
    plain = make_job(3, name="plain", **settings)
    run(plain)
    job = make_job(3, name="stopped", **settings)
    left = iter(range(visit))

    def client(message, context):
        if message.metadata.message_type != "query" and next(left, None) is None:
            raise Stopped
        return client_app(message, context)

    with pytest.raises(Stopped):
        run(job, client)
    run(job)
    assert digest(job) == digest(plain)
    assert history(job) == history(plain)


def failing_on(kind):
    """A client whose second site cannot be measured on a split."""

    def client(message, context):
        second = context.node_config["partition-id"] == 1
        if message.metadata.message_type == "evaluate" and second:
            config = message.content.config_records["config"]
            if config["split"] == kind:
                raise OSError("disk on fire")
        if message.metadata.message_type == "train" and second and kind == "val":
            reply = client_app(message, context)
            without_measures(reply, None)
            return reply
        return client_app(message, context)

    return client


@pytest.mark.parametrize("kind", ["val", "test"])
def test_a_site_that_cannot_be_measured_is_named_and_the_run_goes_on(make_job, kind):
    watching, summary = run(make_job(3), failing_on(kind))
    assert {site for _, site, _ in watching.failed} == {"site-2"}
    assert ("site-2" in summary.sites) is (kind == "val")
    if kind == "val":
        assert [number for number, _, _ in watching.failed] == [1, 2]
        assert [row.participants for row in watching.rows] == [3, 3]
        assert [row.failures for row in watching.rows] == [1, 1]


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
    counts = from_array_record(reply.content["arrays"])
    counts["positive"] = counts["positive"][:4]
    reply.content["arrays"] = to_array_record(counts)


def missing_counts(reply):
    reply.content["arrays"] = to_array_record({})


def report_that_is_no_json(reply):
    reply.content["config"]["report"] = "{"


def report_without_measures(reply):
    reply.content["config"]["report"] = '{"x": 1}'


BROKEN = [misshapen_counts, missing_counts, report_that_is_no_json, report_without_measures]


@pytest.mark.parametrize("change", BROKEN)
def test_a_broken_evaluation_is_named_and_left_out(make_job, change):
    watching, summary = run(make_job(3), lying_about(change))
    assert {site for _, site, _ in watching.failed} == {"site-2"}
    assert "site-2" not in summary.sites


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


def test_on_ray_every_kind_of_bad_update_is_named_and_the_round_goes_on(make_job):
    job = make_job(6, engine="ray", workers=2, quorum=0.3)

    # All within one function: Ray's workers are sent it whole and do not know this file.
    def client(message: Message, context: Context) -> Message:
        reply = client_app(message, context)
        if message.metadata.message_type != "train" or read_round(message) != 1:
            return reply
        site = int(context.node_config["partition-id"]) + 1
        weights = read_training_reply(reply).weights
        if site == 1:
            raise OSError("disk on fire")
        if site == 2:
            weights["head.bias"] = np.full_like(weights["head.bias"], np.inf)
        if site == 3:
            weights["head.bias"] = weights["head.bias"][:4]
        if site == 4:
            reply.content["metrics"]["num-examples"] = 0
        reply.content["arrays"] = to_array_record(weights)
        return reply

    watching = Watching()
    simulate(server_app(watching), client, job, 6)
    named = {site: note for _, site, note in watching.failed}
    assert sorted(named) == ["site-1", "site-2", "site-3", "site-4"]
    for site, reason in zip(
        sorted(named), ["disk on fire", "NaN or infinite", "has shape", "no record"], strict=True
    ):
        assert reason in named[site]
    assert [row.participants for row in watching.rows] == [2, 6]
    assert [row.failures for row in watching.rows] == [4, 0]
