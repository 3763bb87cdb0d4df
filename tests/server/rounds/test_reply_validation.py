"""What is refused of a site's reply, and what is accepted at the very edge."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.prepared_sites import CLASSES, ranked, update
from support.site_measures import report

from fl.config.run_config import RESERVED_NAMES
from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.score_histograms import empty_histograms
from fl.messages.payloads import EvaluationReply, SiteInfo, SourceValidation
from partitions.splits import TEST, VAL
from server.rounds.evaluation_validation import validate_evaluation
from server.rounds.reply_validation import (
    LARGEST_EXTRA,
    LARGEST_VALUE,
    MOST_PATIENTS,
    MOST_RECORDS,
    UpdateCheck,
    validate_change,
    validate_counts,
    validate_site_info,
    validate_weights,
)

MODEL = {"w": np.zeros((2, 3)), "b": np.zeros(2)}
INFO = SiteInfo(site="site-1", n_train=10, n_val=20, n_test=20, n_records=10)
OTHER = replace(INFO, site="site-2")


def evaluation(**changed):
    by_source = {"clinic": SourceValidation(n_patients=20, scores=ranked(0.5))}
    facts = {
        "n_records": 20,
        "n_patients": 20,
        "loss_sum": 1.0,
        "by_source": by_source,
        "report": None,
    }
    return EvaluationReply(site="site-1", **(facts | changed))


def source(name="clinic", n_patients=20, scores=None):
    validation = SourceValidation(n_patients=n_patients, scores=scores or ranked(0.5))
    return {"by_source": {name: validation}}


def shown_by_more_than_annotate():
    patients = ranked(0.5).patients.copy()
    patients[0] = patients[0, ::-1]
    return scores_with(patients=patients)


def scores_with(**changed):
    """Histograms in which one class, or one count, is not as it should be."""
    return replace(ranked(0.5), **changed)


def one_negative(name):
    counts = getattr(ranked(0.5), name).copy()
    counts[0, 0] = -1
    return scores_with(**{name: counts})


def test_weights_of_the_same_names_and_shapes_are_accepted():
    validate_weights({name: value + 1 for name, value in MODEL.items()}, MODEL)
    validate_weights({name: value + LARGEST_VALUE for name, value in MODEL.items()}, MODEL)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"w": MODEL["w"]}, r"differ .*\(b, "),
        (MODEL | {"more": np.zeros(1)}, r"differ .*\(more, "),
        (MODEL | {"b": np.zeros(3)}, r"b has shape \(3,\), not \(2,\)"),
        (MODEL | {"b": np.array([0.0, np.nan])}, "b holds NaN"),
        (MODEL | {"b": np.array([-np.inf, 0.0])}, "b holds NaN or infinite"),
        (MODEL | {"b": np.zeros(2, np.float32)}, "b has type float32, not float64"),
        (MODEL | {"b": np.array(["x", "y"])}, "b has type"),
        (MODEL | {"b": np.array([0.0, -1.01e6])}, "b holds 1.01e[+]06, more than 1e[+]06"),
        (MODEL | {"b": np.array([1e300, 0.0])}, "b holds 1e[+]300"),
    ],
)
def test_other_weights_are_refused(weights, reason):
    with pytest.raises(ValueError, match=reason):
        validate_weights(weights, MODEL)


@given(
    st.lists(
        st.sampled_from([0.0, -999.0, 1000.0, -1001.0, 1e6, 1.1e6, 9e8, 1.1e9, np.nan, -np.inf]),
        min_size=8,
        max_size=8,
    ),
    st.booleans(),
    st.sampled_from(["float64", "float32", "int64"]),
)
def test_all_arrays_at_once_are_judged_as_one_by_one(values, zeros, dtype):
    numbers = np.where(np.isfinite(values), values, 0) if dtype == "int64" else np.array(values)
    numbers = (np.zeros(8) if zeros else numbers).astype(dtype)
    like = {name: value.astype(dtype) for name, value in MODEL.items()}
    weights = {"w": numbers[:6].reshape(2, 3), "b": numbers[6:]}
    check = UpdateCheck(shared=like, extra=like, task="rhythm", weighting="records")
    reasons = []
    for extra in (weights, like):

        def one_by_one(extra=extra):
            validate_weights(weights, like)
            validate_change(weights, like)
            validate_weights(extra, like, LARGEST_EXTRA)

        def at_once(extra=extra):
            check(update("site-1", weights, extra=extra), INFO)

        for judge in (one_by_one, at_once):
            try:
                judge()
                reasons.append("")
            except ValueError as error:
                reasons.append(str(error))
    assert reasons[0::2] == reasons[1::2]


@pytest.mark.parametrize("name", ["w", "b"])
def test_an_update_with_another_entry_is_refused_with_its_name(name):
    check = UpdateCheck(shared=MODEL, extra={}, task="rhythm", weighting="records")
    for odd in (np.zeros(7), MODEL[name].astype(np.float32), MODEL[name] + 1001):
        with pytest.raises(ValueError, match=f"{name} "):
            check(update("site-1", MODEL | {name: odd}), INFO)
    check(update("site-1", {n: v + 999 for n, v in MODEL.items()}), INFO)


@pytest.mark.parametrize(
    "changed",
    [
        *(
            {},
            {"n_records": 1, "n_patients": 1, "annotated": (1,) * CLASSES, "recorded": (1,) * 12},
            {"annotated": (0,) * CLASSES},
            {"recorded": (0,) * 12},
        ),
        *({"n_patients": 10}, {"n_patients": 1}),
    ],
)
def test_counts_down_to_the_least_are_accepted(changed):
    validate_counts(update("site-1", {}, **changed), INFO, RHYTHM)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"n_records": 10**12}, "1000000000000 records .* began the run with 10 of 10"),
        ({"n_records": 11}, "11 records of 10 patients; it began the run with 10 of 10"),
        ({"annotated": (1,) * (CLASSES - 1) + (11,)}, "of 10 in all"),
        ({"recorded": (11,) + (1,) * 11}, "of 10 in all"),
        ({"steps": -1}, "-1 steps"),
        ({"steps": 11}, "11 steps on 10 examples"),
        ({"n_seen": 10**13}, "steps on 10000000000000 examples"),
        ({"loss_sum": 1e14}, "loss is 1e[+]14"),
        ({"n_records": 0}, "trained on no record"),
        ({"n_records": -1}, "trained on no record"),
        ({"annotated": (1,) * (CLASSES - 1)}, f"annotated is .* not {CLASSES} counts"),
        ({"annotated": (1,) * (CLASSES - 1) + (-1,)}, "annotated is"),
        ({"recorded": (1,) * 11}, "recorded is .* not 12 counts"),
        ({"recorded": (-1,) + (1,) * 11}, "recorded is"),
        ({"n_patients": 11}, "10 records of 11 patients"),
        ({"n_patients": -1}, "10 records of -1 patients"),
        ({"loss_sum": float("nan")}, "its loss"),
        ({"loss_sum": float("inf")}, "its loss"),
    ],
)
def test_other_counts_are_refused(changed, reason):
    with pytest.raises(ValueError, match=reason):
        validate_counts(update("site-1", {}, **changed), INFO, RHYTHM)


def test_counts_of_patients_are_bounded_by_the_patients():
    trained = update("site-1", {}, n_patients=7, annotated=(8,) * CLASSES)
    validate_counts(trained, INFO, RHYTHM)
    with pytest.raises(ValueError, match="of 7 in all"):
        validate_counts(trained, INFO, RHYTHM, "patients")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"site": "../x"}, "no name of a site"),
        ({"site": "site\n1"}, "no name of a site"),
        ({"n_train": MOST_PATIENTS + 1, "n_records": MOST_RECORDS}, "n_train is 10000001"),
        ({"n_val": 10**12}, "n_val is"),
        ({"n_test": -1}, "n_test is"),
        ({"n_records": 9}, "9 records of 10"),
        ({"n_records": 10**12}, "records of 10"),
    ],
)
def test_first_words_of_no_hospital_are_refused(changed, reason):
    validate_site_info(INFO)
    with pytest.raises(ValueError, match=reason):
        validate_site_info(replace(INFO, **changed))


def test_a_site_that_does_not_give_its_patients_is_refused_where_they_are_its_weight():
    with pytest.raises(ValueError, match="too few patients"):
        validate_counts(update("site-1", {}, n_patients=0), INFO, RHYTHM, "patients")
    one = (1,) * CLASSES, (1,) * RHYTHM.leads
    trained = update("site-1", {}, n_patients=1, annotated=one[0], recorded=one[1])
    validate_counts(trained, INFO, RHYTHM, "patients")


def test_an_update_in_the_name_of_another_site_is_refused():
    with pytest.raises(ValueError, match="calls itself 'site-1'"):
        validate_counts(update("site-1", {}), OTHER, RHYTHM)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"by_source": {}},
        source(n_patients=0, scores=empty_histograms(CLASSES)),
        {"loss_sum": 0.0},
        {"n_patients": 0, "loss_sum": 0.0, "by_source": {}},
        {"report": report(f1=0.0, auroc=1.0)},
        {"report": report(f1=1.0, auroc=0.0)},
        {"report": report(f1=None, auroc=None)},
        {"report": report(of_class={"auprc": 1 + 2e-16, "recall": 1.0})},  # as sums of shares round
        {"report": report(f1=1.0000000000000002)},
    ],
)
def test_an_evaluation_at_the_edge_is_accepted_as_it_is(changed):
    reply = evaluation(**changed)
    for split in (VAL, TEST):
        assert validate_evaluation(reply, INFO, RHYTHM, split) is reply


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        *[(source(name), "no name of a source") for name in [*sorted(RESERVED_NAMES), "../x", ""]],
        (source(n_patients=-1), "clinic has -1 patients"),
        (source(scores=scores_with(positive=np.zeros((3, 256), np.int64))), r"\(positive\)"),
        *[
            (source(scores=one_negative(n)), rf"\({n}\)")
            for n in ("positive", "negative", "patients")
        ],
        (source(n_patients=19), "has more patients than clinic has"),
        (source(scores=scores_with(positive=2 * ranked(0.5).positive)), "more than its patients"),
        (source(scores=shown_by_more_than_annotate()), "show a class than annotate it"),
        (source(scores=scores_with(positive=ranked(0.5).positive + 2**62)), "more than its pat"),
        ({"n_patients": -1}, "it has -1 patients"),
        ({"n_patients": 21, "n_records": 21}, "21 patients; it began the run with 20"),
        ({"n_records": 19}, "19 records of 20 patients"),
        ({"n_records": 10**12}, "records of 20 patients"),
        ({"steps": -1}, "-1 steps"),
        ({"by_source": source()["by_source"] | source("other")["by_source"]}, "more than the 20"),
        ({"loss_sum": float("nan")}, "its loss"),
        ({"loss_sum": float("-inf")}, "its loss"),
        ({"loss_sum": -0.1}, "its loss is -0.1"),
        ({"loss_sum": 341.0}, "its loss is 341 over 20"),
        ({"report": report(f1=1.01)}, "its macro_f1 is 1.01"),
        ({"report": report(auroc=-0.01)}, "its macro_auroc is -0.01"),
        ({"report": report(accuracy=1.5)}, "its accuracy is 1.5"),
        ({"report": report(n_patients=19)}, "20 records of 19 patients, the evaluation of 20"),
        ({"report": report(classes={})}, "classes are not those of the task"),
        ({"report": report(macro_classes=("made up",))}, "none of the task's"),
        ({"report": report(of_class={"recall": 2.0})}, "its recall of NSR is 2"),
        ({"report": report(of_class={"positive": 21})}, "NSR has 20 records of 20 patients"),
        ({"report": report(of_class={"patients": 21})}, "NSR has 20 records of 21 patients"),
        ({"report": report(subgroups={"sex": {"<b>": None}})}, "unknown subgroups"),
        ({"report": report(subgroups={"ward": {"a": None}})}, "unknown subgroups"),
    ],
)
def test_another_evaluation_is_refused(changed, reason):
    with pytest.raises(ValueError, match=reason):
        validate_evaluation(evaluation(**changed), INFO, RHYTHM, VAL)


def test_each_split_is_bounded_by_its_own_patients():
    few = replace(INFO, n_test=19)
    validate_evaluation(evaluation(), few, RHYTHM, VAL)
    with pytest.raises(ValueError, match="began the run with 19"):
        validate_evaluation(evaluation(), few, RHYTHM, TEST)


def test_an_evaluation_in_the_name_of_another_site_is_refused():
    with pytest.raises(ValueError, match="calls itself 'site-1'"):
        validate_evaluation(evaluation(), OTHER, RHYTHM, VAL)
