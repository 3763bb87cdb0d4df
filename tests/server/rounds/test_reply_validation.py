"""What is refused of a site's reply, and what is accepted at the very edge."""

from dataclasses import replace

import numpy as np
import pytest
from support.prepared_sites import CLASSES, ranked, update
from support.site_measures import measures

from fl.config.run_config import RESERVED_NAMES
from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.score_histograms import empty_histograms
from fl.messages.payloads import EvaluationReply, SourceValidation
from server.rounds.reply_validation import validate_counts, validate_evaluation, validate_weights

MODEL = {"w": np.zeros((2, 3)), "b": np.zeros(2)}


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


def scores_with(**changed):
    """Histograms in which one class, or one count, is not as it should be."""
    return replace(ranked(0.5), **changed)


def one_negative(name):
    counts = getattr(ranked(0.5), name).copy()
    counts[0, 0] = -1
    return scores_with(**{name: counts})


def test_weights_of_the_same_names_and_shapes_are_accepted():
    validate_weights({name: value + 1 for name, value in MODEL.items()}, MODEL)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"w": MODEL["w"]}, r"differ .*\(b, "),
        (MODEL | {"more": np.zeros(1)}, r"differ .*\(more, "),
        (MODEL | {"b": np.zeros(3)}, r"b has shape \(3,\), not \(2,\)"),
        (MODEL | {"b": np.array([0.0, np.nan])}, "b holds NaN"),
        (MODEL | {"b": np.array([-np.inf, 0.0])}, "b holds NaN or infinite"),
    ],
)
def test_other_weights_are_refused(weights, reason):
    with pytest.raises(ValueError, match=reason):
        validate_weights(weights, MODEL)


@pytest.mark.parametrize(
    "changed",
    [
        *(
            {},
            {"n_records": 1, "n_patients": 1},
            {"annotated": (0,) * CLASSES},
            {"recorded": (0,) * 12},
        ),
        *({"n_patients": 10}, {"n_patients": 1}),
    ],
)
def test_counts_down_to_the_least_are_accepted(changed):
    validate_counts(update("site-1", {}, **changed), "site-1", RHYTHM)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
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
        validate_counts(update("site-1", {}, **changed), "site-1", RHYTHM)


def test_a_site_that_does_not_give_its_patients_is_refused_where_they_are_its_weight():
    with pytest.raises(ValueError, match="too few patients"):
        validate_counts(update("site-1", {}, n_patients=0), "site-1", RHYTHM, "patients")
    validate_counts(update("site-1", {}, n_patients=1), "site-1", RHYTHM, "patients")


def test_an_update_in_the_name_of_another_site_is_refused():
    with pytest.raises(ValueError, match="calls itself 'site-1'"):
        validate_counts(update("site-1", {}), "site-2", RHYTHM)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"by_source": {}},
        source(n_patients=0, scores=empty_histograms(CLASSES)),
        {"report": measures(f1=0.0, auroc=1.0)},
        {"report": measures(f1=1.0, auroc=0.0)},
        {"report": measures(f1=None, auroc=None)},
    ],
)
def test_an_evaluation_at_the_edge_is_accepted_as_it_is(changed):
    reply = evaluation(**changed)
    assert validate_evaluation(reply, "site-1", CLASSES) is reply


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
        ({"n_patients": -1}, "it has -1 patients"),
        ({"loss_sum": float("nan")}, "its loss"),
        ({"loss_sum": float("-inf")}, "its loss"),
        ({"report": measures(f1=1.01)}, "its macro_f1 is 1.01"),
        ({"report": measures(auroc=-0.01)}, "its macro_auroc is -0.01"),
    ],
)
def test_another_evaluation_is_refused(changed, reason):
    with pytest.raises(ValueError, match=reason):
        validate_evaluation(evaluation(**changed), "site-1", CLASSES)


def test_an_evaluation_in_the_name_of_another_site_is_refused():
    with pytest.raises(ValueError, match="calls itself 'site-1'"):
        validate_evaluation(evaluation(), "site-2", CLASSES)
