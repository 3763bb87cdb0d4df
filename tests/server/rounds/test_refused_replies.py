"""What a site sends wrongly costs it the round and is named; the run goes on."""

import re

import numpy as np
import pytest
from flwr.app import Context, Message
from support.faulty_clients import raises, spoiled, with_weights, without_validation
from support.rounds import Watching, digest, read_table, run

from clients.app import app as client_app
from fl.config.run_config import RESERVED_NAMES
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.flower_codec import read_round, read_training_reply
from server.app import server_app
from server.engines.simulation import simulate


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


def failing_on(kind):
    """A client whose second site cannot be evaluated on a split."""

    def client(message, context):
        second = context.node_config["partition-id"] == 1
        if message.metadata.message_type == "evaluate" and second:
            config = message.content.config_records["config"]
            if config["split"] == kind:
                raise OSError("disk on fire")
        if message.metadata.message_type == "train" and second and kind == "val":
            reply = client_app(message, context)
            without_validation(reply, None)
            return reply
        return client_app(message, context)

    return client


@pytest.mark.parametrize("kind", ["val", "test"])
def test_a_site_that_cannot_be_evaluated_is_named_and_the_run_goes_on(make_job, kind):
    watching, summary = run(make_job(3), failing_on(kind))
    assert {site for _, site, _ in watching.failed} == {"site-2"}
    assert ("site-2" in summary.sites) is (kind == "val")
    if kind == "val":
        assert [number for number, _, _ in watching.failed] == [1, 2]
        assert [row.participants for row in watching.rows] == [3, 3]
        assert [row.failures for row in watching.rows] == [1, 1]


def changing_evaluation(split, change):
    """A client whose second site sends a broken evaluation of one split."""

    def client(message, context):
        reply = client_app(message, context)
        second = context.node_config["partition-id"] == 1
        evaluates = message.metadata.message_type == "evaluate"
        if second and evaluates and message.content["config"]["split"] == split:
            change(reply)
        return reply

    return client


def misshapen_counts(reply):
    counts = from_array_record(reply.content["arrays"])
    counts["positive"] = counts["positive"][:, :4]
    reply.content["arrays"] = to_array_record(counts)


def missing_counts(reply):
    reply.content["arrays"] = to_array_record({})


def histograms_of_two_sources_for_one(reply):
    counts = from_array_record(reply.content["arrays"])
    twice = {name: np.concatenate([values, values]) for name, values in counts.items()}
    reply.content["arrays"] = to_array_record(twice)


def another_sites_name(reply):
    reply.content["config"]["site"] = "site-1"


def source_name(name):
    def change(reply):
        reply.content["config"]["sources"] = [name]

    return change


def negative_patients(reply):
    reply.content["metrics"]["n-patients"] = [-1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (misshapen_counts, "counts are not those of 9 classes"),
        (missing_counts, "positive"),
        (histograms_of_two_sources_for_one, "do not fit"),
        (another_sites_name, "it calls itself 'site-1'"),
        (negative_patients, "n-patients is -1, not a whole number"),
        *[(source_name(name), "no name of a source") for name in sorted(RESERVED_NAMES)],
        (source_name("../x"), "no name of a source"),
    ],
)
def test_a_broken_validation_is_named_and_left_out(make_job, change, reason):
    job = make_job(3)
    watching, summary = run(job, changing_evaluation("val", change))
    ((number, site, note),) = watching.failed
    assert (number, site) == (2, "site-2")
    assert reason in note
    assert [row.failures for row in watching.rows] == [0, 1]
    validated = [
        r["site"] for r in read_table(job, "sites.csv") if (r["round"], r["split"]) == ("2", "val")
    ]
    assert validated == ["site-1", "site-3"]
    assert "site-2" in summary.sites


def report_that_is_no_json(reply):
    reply.content["config"]["report"] = "{"


def report_without_measures(reply):
    reply.content["config"]["report"] = '{"x": 1}'


@pytest.mark.parametrize(
    "change", [report_that_is_no_json, report_without_measures, another_sites_name]
)
def test_a_broken_test_report_is_named_and_left_out(make_job, change):
    watching, summary = run(make_job(3), changing_evaluation("test", change))
    assert {site for _, site, _ in watching.failed} == {"site-2"}
    assert sorted(summary.sites) == ["site-1", "site-3"]


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
