"""Under secure aggregation a run is the plain one, bit for bit, and the server sees sums alone."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message
from support.rounds import digest, read_table, run

from clients.app import app as client_app
from fl.config.strategy_traits import strategy_traits
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.flower_secure_codec import read_secure_request
from fl.messages.round_vector import RoundVector
from fl.privacy.egress_policy import REASONS
from fl.util.errors import FederationError
from server.aggregation.strategies import STRATEGIES
from server.engines.in_process import LocalGrid

AVERAGING = sorted(name for name in STRATEGIES if not strategy_traits(name).needs_each_update)
SAME_TRAINING = {"finetune", "map-head", "personal"}  # fedavg until the last round is over


def rounds_of(job):
    return [row | {"seconds": ""} for row in read_table(job, "rounds.csv")]


class Leaving:
    """A client some of whose sites do not answer a step of a round."""

    def __init__(self, leaves):
        self.leaves, self.seen = leaves, []

    def __call__(self, message, context):
        asked = read_secure_request(message)
        number = context.node_config["partition-id"]
        if asked and (number, asked.step, asked.context.rpartition("/")[2]) in self.leaves:
            return Message(Error(2, REASONS["failed"]), reply_to=message)
        reply = client_app(message, context)
        if asked and asked.step == "vector":
            self.seen.append(contents(reply))
        return reply


def contents(reply):
    """Names of all that a reply holds, and its arrays: the server empties it later."""
    content = reply.content
    words = sorted(name for record in content.config_records.values() for name in record)
    arrays = [from_array_record(record) for record in content.array_records.values()]
    return words, sorted(content.metric_records), arrays


# Each is two runs; the others differ from fedavg in what the server makes of the average alone.
QUICK = {"fedavg", "scaffold"}
EACH = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in AVERAGING
    if name not in SAME_TRAINING
]


@pytest.mark.parametrize("strategy", EACH)
def test_a_secure_run_is_the_plain_one_bit_for_bit(make_job, strategy):
    settings = {"strategy": strategy, "rounds": 2}
    plain = make_job(3, name="plain", **settings)
    secure = make_job(3, name="secure", secure_aggregation=True, **settings)
    run(plain)
    run(secure)
    assert digest(plain) == digest(secure)
    assert rounds_of(plain) == rounds_of(secure)


def test_it_is_so_where_some_sites_train_and_all_validate(make_job):
    settings = {"rounds": 2, "fraction": 0.5, "strategy": "scaffold", "weighting": "root"}
    plain = make_job(6, name="plain", **settings)
    secure = make_job(6, name="secure", secure_aggregation=True, **settings)
    run(plain)
    run(secure)
    assert digest(plain) == digest(secure)
    assert rounds_of(plain) == rounds_of(secure)


class AskedTwice:
    """A client each of whose answers to a secure step is lost once, and asked for again."""

    def __call__(self, message, context):
        if read_secure_request(message) is not None:
            client_app(message, context)
        return client_app(message, context)


def test_an_answer_that_was_lost_is_given_again(make_job):
    once = make_job(3, name="once", rounds=2, secure_aggregation=True)
    twice = make_job(3, name="twice", rounds=2, secure_aggregation=True)
    run(once)
    watching, _ = run(twice, AskedTwice())
    assert not watching.failed
    assert digest(once) == digest(twice)
    assert rounds_of(once) == rounds_of(twice)


def test_a_second_request_with_other_weights_has_the_first_ones_vector(make_job):
    found = []

    def client(message, context):
        asked = read_secure_request(message)
        reply = client_app(message, context)
        if asked and asked.step == "vector":
            weights = from_array_record(message.content["arrays"])
            other = {name: np.asarray(values + 1, values.dtype) for name, values in weights.items()}
            message.content["arrays"] = to_array_record(other)
            found.append((contents(reply), contents(client_app(message, context))))
        return reply

    run(make_job(3, rounds=1, secure_aggregation=True), client)
    assert len(found) == 6  # training, and validation of the last round
    for (_, _, first), (_, _, second) in found:
        assert np.array_equal(first[0]["masked"], second[0]["masked"])


def test_the_server_is_sent_no_update_and_no_count_of_one_site(make_job):
    job = make_job(3, rounds=2, secure_aggregation=True)
    client = Leaving(set())
    run(job, client)
    assert len(client.seen) == 3 * 3  # two rounds of training and the validation of the last
    for words, metrics, arrays in client.seen:
        assert (words, metrics) == (["site"], [])
        ((name, masked),) = arrays[0].items()
        assert (len(arrays), name) == (1, "masked")
        assert abs(np.unpackbits(masked.view(np.uint8)).mean() - 0.5) < 0.01
    assert read_table(job, "sites.csv")  # of the test, which each site answers for itself
    assert {row["split"] for row in read_table(job, "sites.csv")} == {"test"}


LATE = [pytest.param(step, marks=pytest.mark.slow) for step in ("keys", "letters", "confirm")]


@pytest.mark.parametrize("step", ["vector", "reveal", *LATE])
def test_a_site_that_is_lost_at_any_step_is_named_and_the_round_goes_on(make_job, step):
    job = make_job(4, rounds=2, secure_aggregation=True)
    watching, _ = run(job, Leaving({(3, step, "1")}))
    (lost,) = {site for _, site, _ in watching.failed}
    assert [number for number, _, _ in watching.failed] == [1]
    first, second = rounds_of(job)
    # A site that leaves after its vector arrived is in the sum.
    expected = 4 if step in {"confirm", "reveal"} else 3
    assert (int(first["participants"]), int(second["participants"])) == (expected, 4)
    assert lost == sorted(row["site"] for row in read_table(job, "sites.csv"))[3]


def test_the_sum_without_a_lost_site_is_that_of_a_plain_run_without_it(make_job):
    class Silent:
        def __call__(self, message, context):
            number = context.node_config["partition-id"]
            if number == 3 and message.metadata.message_type == "train":
                return Message(Error(2, REASONS["failed"]), reply_to=message)
            return client_app(message, context)

    plain = make_job(4, rounds=1, name="plain")
    secure = make_job(4, rounds=1, name="secure", secure_aggregation=True)
    run(plain, Silent())
    run(secure, Leaving({(3, "vector", "1")}))
    assert digest(plain) == digest(secure)


def test_below_the_threshold_the_run_stops_with_a_line_and_goes_on_with_resume(make_job):
    job = make_job(4, rounds=2, secure_aggregation=True)
    leaves = {(2, "vector", "2"), (3, "vector", "2")}
    with pytest.raises(
        FederationError, match=r"2 sites sent .*, 3 are needed.*--resume.* site-\d: .+; site-\d: "
    ):
        run(job, Leaving(leaves))
    whole = make_job(4, rounds=2, secure_aggregation=True, name="whole")
    run(whole)
    run(job)
    assert digest(job) == digest(whole)


def test_a_vector_of_another_size_is_refused_and_its_site_named(make_job):
    class Short(Leaving):
        def __call__(self, message, context):
            reply = super().__call__(message, context)
            asked = read_secure_request(message)
            if asked and asked.step == "vector" and context.node_config["partition-id"] == 0:
                reply.content["arrays"] = ArrayRecord({"masked": Array(np.zeros(5, np.int64))})
            return reply

    job = make_job(4, rounds=1, secure_aggregation=True)
    watching, _ = run(job, Short(set()))
    assert any("its vector is (5,) of int64" in note for _, _, note in watching.failed)


def test_what_a_site_keeps_between_the_steps_is_its_own_to_read(make_job):
    job = make_job(3, rounds=1, secure_aggregation=True)
    run(job, grid=LocalGrid)
    kept = sorted(Path(job.workspace).glob("checkpoint/sites/*/*/secure/*"))
    assert {path.name for path in kept} == {"identity.pem", "masked.npy", "secrets.json"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)


def test_a_sum_that_honest_sites_cannot_have_stops_the_run(make_job, monkeypatch):
    """One site adds a thousand to each count; nobody can tell which one it was."""
    honest = RoundVector.encode
    calls = []

    def lying(layout, trained, validated):
        calls.append(1)
        return honest(layout, trained, validated) + (1000 if len(calls) == 2 else 0)

    monkeypatch.setattr(RoundVector, "encode", lying)
    job = make_job(3, rounds=1, secure_aggregation=True)
    with pytest.raises(FederationError, match=r"sum over 3 sites cannot be .* nobody can tell"):
        run(job)
