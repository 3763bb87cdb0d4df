"""Nothing but what is listed leaves a hospital, and for an error only a general reason."""

import json
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Error, Message
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from clients.app import app as client_app
from clients.local_training import withhold_small_counts
from fl.data.cohort import Cohort
from fl.evaluation.decisions.score_histograms import BINS, empty_histograms
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.metrics import ClassMeasures
from fl.messages.flower_arrays import packed, to_array_record, unpacked
from fl.messages.flower_codec import (
    VALIDATE_FIRST,
    check_egress,
    evaluation_reply,
    evaluation_request,
    failure_reply,
    read_job,
    read_weights,
    run_settings,
    site_info_reply,
    site_info_request,
    training_reply,
)
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply, SiteInfo, SourceValidation, TrainingReply
from fl.privacy import egress_policy
from fl.privacy.egress_policy import EgressError, reason_for
from fl.util.errors import ConfigError, DataError, UnusableRecord
from server.deploy.grids.packed_grid import PackedGrid
from server.engines.in_process import LocalGrid

JOB = Job(strategy="x", config={})
WEIGHTS = {"head.bias": np.ones(9, np.float32)}
FIGURE = {"value": 0.5, "low": None, "high": None}
REPORT = {
    "n_records": 9,
    "n_patients": 8,
    "accuracy": 0.5,
    "macro_f1": FIGURE,
    "macro_auroc": FIGURE,
    "macro_classes": ["AF"],
    "classes": {"AF": {"n": 9, "positive": 5, "f1": 0.5}},
}


@pytest.fixture(scope="module", autouse=True)
def _in_a_run():
    """Flower makes messages only within a run, which a grid begins."""
    LocalGrid(client_app, 1)


def asked(kind="evaluate", validate_first=False):
    message = evaluation_request(JOB, to_array_record(WEIGHTS), 7, 3, "val")
    message.metadata.message_type = kind
    message.content["config"][VALIDATE_FIRST] = validate_first
    return message


def update(validation=None, **changed):
    given = {"n_records": 4, "annotated": (4,) * 9, "recorded": (4,) * 12, "loss_sum": 1.0}
    given |= {"site": "a", "weights": WEIGHTS, "n_seen": 4, "steps": 1}
    return training_reply(TrainingReply(**given | changed), asked("train"), validation)


def evaluated(report, sources=("cpsc2018", "mitdb")):
    one = SourceValidation(n_patients=4, scores=empty_histograms(9))
    return EvaluationReply(
        site="a",
        n_records=9,
        n_patients=8,
        loss_sum=1.0,
        by_source=dict.fromkeys(sources, one),
        report=report,
    )


def measures(report):
    reply = evaluation_reply(evaluated(None), asked())
    reply.content["config"]["report"] = json.dumps(report)
    return reply


def test_replies_as_they_are_meant_pass():
    check_egress(update(), asked("train"))
    check_egress(update(evaluated(None)), asked("train", validate_first=True))
    check_egress(measures(REPORT), asked())
    check_egress(evaluation_reply(evaluated(None, sources=()), asked()), asked())
    info = SiteInfo(site="a", n_train=1, n_val=1, n_test=1)
    check_egress(site_info_reply(info, asked("query")), asked("query"))


def one_more_record(reply):
    reply.content["more"] = to_array_record(WEIGHTS)


def one_more_word(reply):
    reply.content["config"]["file"] = "A0001"


def one_more_number(reply):
    reply.content["metrics"]["age"] = 71


def a_number_for_each_record(reply):
    reply.content["metrics"]["loss-sum"] = [0.1, 0.2, 0.3]


def a_path_for_a_name(reply):
    reply.content["config"]["site"] = "/data/A0001.hea"


def one_more_array(reply):
    reply.content["arrays"] = to_array_record({**WEIGHTS, "p": np.ones(3, np.float32)})


def another_shape(reply):
    reply.content["arrays"] = to_array_record({"head.bias": np.ones(10, np.float32)})


def text_in_an_array(reply):
    reply.content["arrays"] = to_array_record({"head.bias": np.array(["A0001"] * 9)})


@pytest.mark.parametrize(
    "change",
    [
        one_more_record,
        one_more_word,
        one_more_number,
        a_number_for_each_record,
        a_path_for_a_name,
        one_more_array,
        another_shape,
        text_in_an_array,
    ],
)
def test_an_update_with_anything_else_stays_where_it_is(change):
    reply = update()
    change(reply)
    with pytest.raises(EgressError):
        check_egress(reply, asked("train"))


def test_validation_that_was_not_asked_for_stays_where_it_is():
    with pytest.raises(EgressError, match="validation-arrays"):
        check_egress(update(evaluated(None)), asked("train"))


def a_histogram_of_each_record(reply):
    reply.content["arrays"]["positive"] = histogram((9, 9, BINS))


def a_histogram_of_other_bins(reply):
    reply.content["arrays"]["negative"] = histogram((2, 9, 200))


def probabilities_for_a_histogram(reply):
    reply.content["arrays"]["positive"] = histogram((2, 9, BINS), np.float64)


def patients_of_each_record(reply):
    reply.content["metrics"]["n-patients"] = [71, 43, 80]


def patients_as_one_number(reply):
    reply.content["metrics"]["n-patients"] = 8


def a_source_twice(reply):
    reply.content["config"]["sources"] = ["mitdb", "mitdb"]


def a_source_that_is_a_path(reply):
    reply.content["config"]["sources"] = ["cpsc2018", "/data/A0001.hea"]


def sites_for_a_site(reply):
    reply.content["config"]["site"] = ["a", "b"]


def histogram(shape, dtype=np.int64):
    return to_array_record({"x": np.zeros(shape, dtype)})["x"]


@pytest.mark.parametrize(
    "change",
    [
        a_histogram_of_each_record,
        a_histogram_of_other_bins,
        probabilities_for_a_histogram,
        patients_of_each_record,
        patients_as_one_number,
        a_source_twice,
        a_source_that_is_a_path,
        sites_for_a_site,
    ],
)
def test_validation_has_one_entry_for_each_source_and_no_more(change):
    reply = measures({})
    change(reply)
    with pytest.raises(EgressError):
        check_egress(reply, asked())


@pytest.mark.parametrize(
    ("record", "more"),
    [
        ("validation-config", {"file": "A0001"}),
        ("validation-config", {"sources": ["/data/A0001.hea"]}),
        ("validation-metrics", {"age": 71}),
        ("validation-arrays", to_array_record({"p": np.ones(3)})),
    ],
)
def test_validation_beside_an_update_holds_nothing_else_either(record, more):
    reply = update(evaluated(None))
    reply.content[record].update(more)
    with pytest.raises(EgressError):
        check_egress(reply, asked("train", validate_first=True))


@pytest.mark.parametrize(
    "more",
    [
        {"records": ["A0001"]},
        {"accuracy": [0.1, 0.2]},
        {"n_records": "A0001"},
        {"macro_f1": {"value": 0.5, "patient": "P1"}},
        {"macro_f1": {"value": 0.5, "low": "A0001", "high": None}},
        {"macro_auroc": {"value": [0.1, 0.2], "low": None, "high": None}},
        {"classes": {"AF": {"f1": 0.5, "age": 71}}},
        {"classes": {"AF": {"f1": [0.1, 0.2]}}},
        {"classes": {"AF": {"n": "A0001"}}},
        {"classes": {"AF": {"f1": 0.5, "records": ["A0001"]}}, "macro_classes": []},
        {"macro_classes": ["A0001"]},
        {"classes": {"AF": {"f1": 0.5}, "A0001": {"f1": 0.5}}},
        {"subgroups": {"sex": {"female": None}}},
    ],
)
def test_a_report_with_anything_else_stays_where_it_is(more):
    with pytest.raises(EgressError):
        check_egress(measures(REPORT | more), asked())


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((2, 9, BINS)), "does not hold counts"),
        (np.zeros((2, 9, BINS + 1), np.int64), "is no histogram of each source"),
        (np.zeros((9, BINS), np.int64), "is no histogram of each source"),
    ],
)
def test_an_evaluation_holds_counts_in_the_listed_ranges_alone(array, why):
    reply = measures(REPORT)
    counts = {name: reply.content["arrays"][name].numpy() for name in reply.content["arrays"]}
    reply.content["arrays"] = to_array_record(counts | {"positive": array})
    with pytest.raises(EgressError, match=f"positive .*{why}"):
        check_egress(reply, asked())


def test_a_report_loses_what_is_not_listed():
    more = REPORT | {"subgroups": {"sex": {}}, "classes": {"AF": {"f1": 0.5, "reliability": [1]}}}
    kept = egress_policy.permitted_report(more)
    assert kept == REPORT | {"classes": {"AF": {"f1": 0.5}}}
    assert egress_policy.permitted_report({}) == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DataError("/data/A0001.hea: cannot be read"), "data"),
        (UnusableRecord("A0001", "no-label", "x"), "data"),
        (ConfigError("--device is 'cuda'"), "settings"),
        (egress_policy.VersionMismatch("0.2"), "version"),
        (MemoryError(), "memory"),
        (KeyError("A0001"), "failed"),
    ],
)
def test_of_an_error_only_a_general_reason_leaves(error, reason):
    reply = failure_reply(error, asked())
    assert reply.error.reason == reason_for(error) == egress_policy.REASONS[reason]
    check_egress(reply, asked())


def test_the_text_of_an_error_stays():
    with pytest.raises(EgressError):
        check_egress(Message(Error(2, "A0001: no such file"), reply_to=asked()), asked())


@pytest.mark.parametrize("min_count", [0, 3, 5])
def test_rare_classes_count_as_not_annotated(cohort: Cohort, min_count):
    part = cohort.take(np.arange(30))
    permitted = part.without_rare(min_count)
    for c in range(part.labels.shape[1]):
        of = [part.labels[:, c] == value for value in (1, 0)]
        people = [len(set(part.patients[marked].tolist())) for marked in of]
        seen = [(permitted.labels[:, c] == value).sum() for value in (1, 0)]
        held = [marked.sum() for marked in of]
        assert seen == ([0, 0] if min(people) < min_count else held)
    assert (part.labels >= 0).sum() >= (permitted.labels >= 0).sum()


def test_many_windows_of_few_patients_do_not_make_a_class_frequent(cohort: Cohort):
    part = cohort.take(np.arange(30))
    one = replace(part)
    one.__dict__["patients"] = np.repeat("one", 30)
    assert (part.without_rare(2).labels == 1).any()
    assert (one.without_rare(2).labels == -1).all()


def test_counts_of_few_patients_leave_as_none():
    counts, patients = np.array([0.0, 4.4, 400.0, 20.0]), np.array([0, 5, 4, 20])
    assert withhold_small_counts(5, counts, patients) == (0, 4, 0, 20)


def test_a_job_goes_out_without_the_coordinators_folders():
    job = Job(
        strategy="fedavg",
        config={"data_dir": "/srv/central", "seed": 7},
        workspace="/runs/x",
        shards=("/cache/a",),
        run="x-1",
        version="1",
        nodes={"a": 5},
    )
    sent = json.dumps(dict(run_settings(job)))
    assert not [word for word in ("/srv", "/runs", "/cache", 'nodes\\": {\\"a') if word in sent]
    read = read_job(site_info_request(job, 7))
    assert (read.run, read.version, read.config.seed, read.deployed) == ("x-1", "1", 7, True)


def test_arrays_are_packed_into_one_and_come_out_the_same():
    both = WEIGHTS | {"n": np.array(3, np.int64), "d": np.array([1e-300, np.nan])}
    message = evaluation_request(JOB, to_array_record(both), 7, 3, "val")
    sent = packed(message)
    assert list(sent.content["arrays"]) == ["packed"]
    found = read_weights(unpacked(sent))
    assert found.keys() == both.keys()
    for name, value in both.items():
        assert found[name].dtype == value.dtype
        assert found[name].tobytes() == value.tobytes()


def test_a_packed_message_is_of_objects_that_flower_can_send():
    message = packed(evaluation_request(JOB, to_array_record(WEIGHTS), 7, 3, "val"))
    objects = get_all_nested_objects(message.content)
    contents = {number: part.deflate() for number, part in objects.items()}
    arrived = inflate_object_from_contents(message.content.object_id, contents)
    whole = arrived["arrays"]["packed"].numpy()
    np.testing.assert_array_equal(whole, message.content["arrays"]["packed"].numpy())


def test_a_damaged_message_is_left_as_it_is_and_refused_later():
    message = evaluation_request(
        JOB, to_array_record({"packed": np.ones(9, np.uint8)}), 7, 3, "val"
    )
    with pytest.raises(ValueError, match="its arrays cannot be read"):
        unpacked(message)
    assert PackedGrid(LocalGrid(client_app, 1))._read(message) is message


def check_numbers(kind, numbers):
    texts = {"sources": ["a"]} if kind == "evaluate" else {}
    egress_policy.check_content(kind, texts, numbers, {}, {})


def check_arrays(kind, arrays, shapes=None, sources=("a", "b")):
    """Check a reply of these arrays; those of an evaluation are of so many sources."""
    of_sources = kind == "evaluate"
    texts = {"sources": list(sources)} if of_sources else {}
    numbers = {"n-patients": [4] * len(sources)} if of_sources else {}
    egress_policy.check_content(kind, texts, numbers, arrays, shapes or {})


def test_a_reply_to_an_unknown_request_stays_where_it_is():
    with pytest.raises(EgressError, match="'reveal' is no known kind of request"):
        egress_policy.check_content("reveal", {}, {}, {}, {})


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("query", {"n-train": 4, "n-val": 0, "n-test": 1}),
        ("train", {"num-examples": 4, "annotated": [4, 0], "recorded": [4], "loss-sum": 0.5}),
        ("train", {"n-seen": 4, "steps": 1}),
        ("evaluate", {"num-examples": 4, "n-patients": [3], "loss-sum": 0.5, "steps": 1}),
    ],
)
def test_listed_numbers_pass_for_their_kind_of_request_and_no_other_number_does(kind, numbers):
    given = {"n-patients": [3]} | numbers if kind == "evaluate" else numbers
    check_numbers(kind, given)
    with pytest.raises(EgressError, match="numbers that are not on the list: age"):
        check_numbers(kind, given | {"age": 71})


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ({"num-examples": [4, 5]}, "num-examples is not one number"),
        ({"loss-sum": [0.5]}, "loss-sum is not one number"),
        ({"num-examples": "A0001"}, "num-examples is not a number"),
        ({"num-examples": None}, "num-examples is not a number"),
        ({"annotated": [4, "A0001"]}, "annotated is not a number"),
        ({"recorded": [[4, 5]]}, "recorded is not a number"),
    ],
)
def test_a_number_is_a_number_and_a_list_is_of_numbers(numbers, why):
    with pytest.raises(EgressError, match=why):
        check_numbers("train", numbers)


@pytest.mark.parametrize("kind", ["query", "train", "evaluate"])
@pytest.mark.parametrize(
    ("site", "passes"),
    [
        ("site-1", True),
        ("St_Mary.2+b", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("two words", False),
        ("../A0001", False),
        ("site-1\n", False),
    ],
)
def test_a_name_is_short_and_no_path(kind, site, passes):
    texts = {"site": site} | ({"sources": []} if kind == "evaluate" else {})
    numbers = {"n-patients": []} if kind == "evaluate" else {}
    if passes:
        egress_policy.check_content(kind, texts, numbers, {}, {})
    else:
        with pytest.raises(EgressError, match="site is not a name"):
            egress_policy.check_content(kind, texts, numbers, {}, {})


@pytest.mark.parametrize("kind", ["query", "train"])
def test_only_an_evaluation_names_sources_and_holds_a_report(kind):
    for more in ("sources", "report", "file"):
        with pytest.raises(EgressError, match=f"texts that are not on the list: {more}"):
            egress_policy.check_content(kind, {"site": "a", more: "a"}, {}, {}, {})


def test_a_query_sends_no_weights():
    check_arrays("query", {})
    with pytest.raises(EgressError, match="arrays in a reply that has none"):
        check_arrays("query", {"x": np.zeros(3)}, {"x": (3,)})


def test_an_update_has_the_shapes_that_came_with_the_request():
    shapes = {"w": (2, 3), "n": ()}
    check_arrays("train", {"w": np.zeros((2, 3), np.float32), "n": np.array(3)}, shapes)
    check_arrays("train", {}, shapes)
    for name, array in (("w", np.zeros((3, 2))), ("n", np.zeros(1)), ("v", np.zeros((2, 3)))):
        with pytest.raises(EgressError, match=f"{name} of shape .* is no entry of the model"):
            check_arrays("train", {name: array}, shapes)
    for values in ("A0001", b"A0001", True):
        with pytest.raises(EgressError, match="w does not hold numbers"):
            check_arrays("train", {"w": np.full((2, 3), values)}, shapes)


@pytest.mark.parametrize(
    ("name", "bins"), [("positive", BINS), ("negative", BINS), ("patients", 2)]
)
def test_a_histogram_is_of_each_source_and_class_and_of_its_own_bins(name, bins):
    check_arrays("evaluate", {name: np.zeros((2, 9, bins), np.int64)})
    for shape in ((2, 9, bins + 1), (9, bins), (2, 9, bins, 3), (2, 9, bins - 1)):
        with pytest.raises(EgressError, match=f"{name} of shape .* is no histogram"):
            check_arrays("evaluate", {name: np.zeros(shape, np.int64)})
    for sources in (1, 3):
        with pytest.raises(EgressError, match=f"{name} of shape .* is not one of each source"):
            check_arrays("evaluate", {name: np.zeros((sources, 9, bins), np.int64)})
    with pytest.raises(EgressError, match=f"{name} does not hold counts"):
        check_arrays("evaluate", {name: np.zeros((2, 9, bins))})


def test_an_evaluation_sends_listed_histograms_alone():
    with pytest.raises(EgressError, match="histograms that are not on the list: probabilities"):
        check_arrays("evaluate", {"probabilities": np.zeros((2, 9, 2), np.int64)})


@pytest.mark.parametrize(
    ("sources", "n_patients", "why"),
    [
        ("ab", [4, 4], "are not lists"),
        (["a", "b"], 8, "are not lists"),
        ("a", 8, "are not lists"),
        (["a", "b"], [4], "1 numbers of patients for 2 sources"),
        (["a", "b"], [4, 4, 4], "3 numbers of patients for 2 sources"),
        (["a", "a"], [4, 4], "2 numbers of patients for 2 sources"),
    ],
)
def test_each_source_has_one_number_of_patients(sources, n_patients, why):
    numbers = {"n-patients": n_patients}
    with pytest.raises(EgressError, match=why):
        egress_policy.check_content("evaluate", {"sources": sources}, numbers, {}, {})


def test_a_site_sends_every_measure_of_its_records_but_none_of_a_subgroup():
    measured = GroupMeasures.model_fields.keys()
    assert measured - {"subgroups"} == (
        egress_policy.FIGURES | egress_policy.INTERVALS | {"classes", "macro_classes"}
    )
    assert ClassMeasures.model_fields.keys() == egress_policy.CLASS_FIGURES


def test_a_report_of_every_measure_passes_with_figures_and_without():
    for figure in (0.5, None):
        estimate = {"value": figure, "low": figure, "high": figure}
        report = dict.fromkeys(egress_policy.FIGURES, figure)
        report |= dict.fromkeys(egress_policy.INTERVALS, estimate)
        report |= {"classes": {"AF": dict.fromkeys(egress_policy.CLASS_FIGURES, figure)}}
        report |= {"macro_classes": ["AF"]}
        egress_policy.check_report(report)
        assert egress_policy.permitted_report(report | {"subgroups": {}}) == report
    egress_policy.check_report({})
