"""What crosses the wire comes out as it went in, and holds nothing about a patient."""

import json

import numpy as np
import pytest
from flwr.app import Message, MessageType, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from support.measures import group_measures
from support.rules import even_rule

from clients.app import app as client_app
from clients.local_evaluation import evaluate_site
from clients.local_training import train_site
from clients.simulated_sites import open_site
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.decisions.platt_scaling import PlattMap
from fl.evaluation.decisions.score_histograms import BINS, ScoreHistograms
from fl.evaluation.group_evaluation import MIN_SUBGROUP_PATIENTS
from fl.messages.flower_arrays import from_array_record, packed, to_array_record, unpacked
from fl.messages.flower_codec import (
    evaluation_reply,
    evaluation_request,
    read_evaluation_reply,
    read_incoming_validation,
    read_job,
    read_mu,
    read_round,
    read_site_info,
    read_split,
    read_training_reply,
    read_validate_first,
    site_info_reply,
    training_reply,
    training_settings,
)
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply, SiteInfo, SourceValidation, TrainingReply
from partitions.splits import TEST, VAL
from server.app import initial_weights
from server.engines.in_process import LocalGrid

names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
counts = st.integers(0, 2**40)
losses = st.floats(0, 1e9)
weights = st.dictionaries(
    names,
    st.one_of(
        arrays(dtype, array_shapes(min_dims=0, max_dims=3, max_side=4))
        for dtype in (np.float32, np.float64, np.int64)
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module", autouse=True)
def _in_a_run():
    """Flower makes messages only within a run, which a grid begins."""
    LocalGrid(client_app, 1)


def request(job=None):
    return evaluation_request(job or Job(strategy="x", config={}), to_array_record({}), 7, 3, VAL)


def travelled(message):
    """The message as the other side has it: serialised and read again."""
    proto = message_to_proto(message)
    return message_from_proto(type(proto).FromString(proto.SerializeToString()))


def same(one, other):
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and np.array_equal(one[k], other[k], equal_nan=True)
        for k in one
    )


@given(weights)
def test_weights_keep_every_name_shape_type_and_bit(given_weights):
    assert same(from_array_record(to_array_record(given_weights)), given_weights)


@given(st.builds(SiteInfo, site=names, n_train=counts, n_val=counts, n_test=counts))
def test_site_info_comes_out_as_it_went_in(info):
    assert read_site_info(travelled(site_info_reply(info, request()))) == info


@given(
    *(names, weights, weights, counts, st.lists(counts, min_size=1).map(tuple)),
    *(losses, counts, counts),
)
def test_an_update_comes_out_as_it_went_in(
    site, given_weights, extra, n, annotated, loss, seen, steps
):
    trained = TrainingReply(
        site=site,
        weights=given_weights,
        extra=extra,
        n_records=n,
        annotated=annotated,
        recorded=annotated[::-1],
        loss_sum=loss,
        n_seen=seen,
        steps=steps,
        n_patients=seen + 1,
    )
    found = read_training_reply(travelled(training_reply(trained, request())))
    assert same(found.weights, given_weights)
    assert same(found.extra, extra)
    without = {"weights": None, "extra": None}
    assert vars(found) | without == vars(trained) | without


def validation(classes, first, n_patients):
    """Validation of one source, its counts numbered from `first`."""
    shapes = [(classes, BINS), (classes, BINS), (classes, 2)]
    arrays = [first + np.arange(np.prod(shape), dtype=np.int64).reshape(shape) for shape in shapes]
    return SourceValidation(n_patients=n_patients, scores=ScoreHistograms(*arrays))


evaluations = st.builds(
    lambda classes, sources, **rest: EvaluationReply(
        by_source={
            source: validation(classes, 7 * number, n)
            for number, (source, n) in enumerate(sources.items())
        },
        **rest,
    ),
    classes=st.integers(1, 5),
    sources=st.dictionaries(names, counts, max_size=3),
    n_records=counts,
    n_patients=counts,
    site=names,
    loss_sum=losses,
    report=st.none() | group_measures(),
)


def same_evaluation(one, other):
    """Whether two replies agree, in the order of their sources too."""
    assert list(one.by_source) == list(other.by_source)
    for left, right in zip(one.by_source.values(), other.by_source.values(), strict=True):
        assert left.n_patients == right.n_patients
        assert same(vars(left.scores), vars(right.scores))
    return vars(one) | {"by_source": None} == vars(other) | {"by_source": None}


@given(evaluations)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_an_evaluation_comes_out_as_it_went_in(evaluated):
    found = read_evaluation_reply(travelled(evaluation_reply(evaluated, request())))
    assert same_evaluation(found, evaluated)


@given(evaluations, weights)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_an_update_and_the_validation_before_it_do_not_mix(evaluated, given_weights):
    given = {"annotated": (1,), "recorded": (1,), "loss_sum": 1.0, "n_seen": 1, "steps": 1}
    trained = TrainingReply(site="a", weights=given_weights, n_records=3, **given)
    alone = training_reply(trained, request())
    with pytest.raises(KeyError):
        read_incoming_validation(alone)
    both = travelled(packed(training_reply(trained, request(), evaluated)))
    packed_arrays = [len(record) for record in both.content.array_records.values()]
    assert packed_arrays == ([1, 1] if evaluated.by_source else [1])
    both = unpacked(both)
    assert same(read_training_reply(both).weights, given_weights)
    assert read_training_reply(both).n_records == 3
    assert same_evaluation(read_incoming_validation(both), evaluated)


@pytest.mark.parametrize("validate_first", [False, True])
def test_a_request_to_train_says_whether_to_validate_first(validate_first):
    config = training_settings(Job(strategy="x", config={}), validate_first)
    message = travelled(Message(RecordDict({"config": config}), 7, MessageType.TRAIN))
    assert read_validate_first(message) is validate_first


@pytest.mark.parametrize("names", [["a", "a"], ["a"], ["a", "b", "c"]])
def test_an_evaluation_whose_sources_do_not_fit_is_refused(names):
    evaluated = EvaluationReply(
        site="s",
        n_records=3,
        n_patients=3,
        loss_sum=1.0,
        by_source={"a": validation(2, 0, 1), "b": validation(2, 5, 2)},
        report=None,
    )
    message = evaluation_reply(evaluated, request())
    message.content["config"]["sources"] = names
    with pytest.raises(ValueError, match="do not fit their patients and histograms"):
        read_evaluation_reply(message)


numbers = st.floats(-1e3, 1e3)
rules = st.builds(
    DecisionRule,
    thresholds=st.dictionaries(names, st.dictionaries(names, st.floats(0, 1))),
    calibration=st.dictionaries(
        names, st.dictionaries(names, st.builds(PlattMap, slope=numbers, intercept=numbers))
    ),
    alone=st.sampled_from(["", "NSR"]),
    otherwise=st.sampled_from(["", "N"]),
)


@given(st.none() | rules)
def test_a_request_says_round_split_and_rule(rule):
    job = Job(strategy="fedavg", config={"rounds": 9}, workspace="here", shards=("a", "b"))
    message = travelled(evaluation_request(job, to_array_record({}), 7, 3, TEST, rule))
    assert read_job(message) == job
    assert read_round(message) == 3
    assert read_split(message) == (TEST, rule)
    assert read_mu(message) == 0.0


@pytest.fixture
def answered(make_job):
    """A site, and its replies to a request to train and to two evaluations."""
    job = make_job(2)
    site, start = open_site(job, 0), initial_weights(job)
    ask = request(job)
    trained = training_reply(train_site(site, job, start, 1), ask)
    rule = even_rule(site.splits[TEST].task.classes)
    evaluated = [
        evaluation_reply(evaluate_site(site, job, start, split, rule, 1), ask)
        for split in (VAL, TEST)
    ]
    return site, [trained, *evaluated]


def test_replies_hold_only_the_listed_kinds(answered):
    _, (trained, *evaluated) = answered
    validated, tested = evaluated
    for message in (trained, validated):
        assert sorted(message.content) == ["arrays", "config", "metrics"]
    assert sorted(tested.content) == ["config", "metrics"]
    assert sorted(trained.content["config"]) == ["site"]
    assert sorted(trained.content["metrics"]) == [
        "annotated",
        "loss-sum",
        "n-seen",
        "num-examples",
        "recorded",
        "steps",
        "train-patients",
    ]
    for message in evaluated:
        assert sorted(message.content["config"]) == ["report", "site", "sources"]
        assert sorted(message.content["metrics"]) == [
            "loss-sum",
            "n-patients",
            "num-examples",
            "patients",
            "steps",
        ]
    counts = ["negative", "patients", "positive"]
    assert sorted(validated.content["arrays"]) == counts


def test_no_record_patient_or_file_has_a_place_in_a_reply(answered):
    site, replies = answered
    private: set[str] = {str(site.folder), "signals.npy", "predictions"}
    for part in site.splits.values():
        private |= {*part.names.tolist(), *part.patients.tolist()}
        private |= set(part.column("patients").tolist())
    assert len(private) > 20
    for message in replies:
        content = message_to_proto(message).SerializeToString()
        assert [name for name in private if name.encode() in content] == []


def test_a_report_is_of_groups_and_never_of_one_record(answered):
    site, (*_, test) = answered
    report = json.loads(test.content["config"]["report"])

    def lists(value):
        if isinstance(value, dict):
            return [found for part in value.values() for found in lists(part)]
        return [value] if isinstance(value, list) else []

    assert report["n_records"] == len(site.splits[TEST])
    parts = [p for kind in report["subgroups"].values() for p in kind.values() if p is not None]
    assert all(part["n_patients"] >= MIN_SUBGROUP_PATIENTS for part in parts)
    # Lists are of class names alone: a list of numbers could be one per record.
    for found in lists(report):
        assert set(found) <= set(site.splits[TEST].task.classes)


def test_a_reply_goes_back_to_who_asked():
    ask = request()
    reply = site_info_reply(SiteInfo(site="s", n_train=1, n_val=1, n_test=1), ask)
    assert isinstance(reply, Message)
    assert reply.metadata.dst_node_id == ask.metadata.src_node_id
