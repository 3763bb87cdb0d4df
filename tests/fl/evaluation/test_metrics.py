"""Measures agree with scikit-learn, and are None where they cannot be computed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics
from sklearn.metrics import precision_recall_fscore_support

from fl.evaluation.calibration import recalibration
from fl.evaluation.metrics import (
    MEASURES,
    MIN_MACRO_PATIENTS,
    Group,
    scores,
    scores_of_groups,
)
from fl.util.random_streams import stream

CLASSES = ("a", "b", "c")
probabilities = st.floats(0, 1).map(lambda p: round(p, 7))


def group(n, seed=0):
    """Labels, some not annotated, and scores that know a little about them."""
    rng = stream(seed, "group")
    labels = rng.choice(np.array([-1, 0, 1], dtype=np.int8), size=(n, 3), p=[0.2, 0.5, 0.3])
    logits = rng.normal(size=(n, 3)) + 1.5 * (labels == 1) - 1
    return labels, np.round(1 / (1 + np.exp(-logits)), 7)


def each(labels):
    """A patient for each example."""
    return np.arange(len(labels)).astype(str)


@st.composite
def groups(draw):
    n = draw(st.integers(0, 30))
    labels = draw(arrays(np.int8, (n, 3), elements=st.sampled_from([-1, 0, 1])))
    return labels, draw(arrays(np.float64, (n, 3), elements=probabilities))


def test_a_class_without_a_positive_or_a_negative_is_none_and_not_in_the_macro_average():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, -1]] * 5, dtype=np.int8)
    p = np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1], [0.4, 0.2, 0.2]] * 5)
    found = scores(labels, p, p >= 0.5, CLASSES, each(labels))
    assert found.macro_classes == ("a",)
    assert found.macro_f1 == pytest.approx(2 / 3)
    assert found.macro_auroc == 1.0
    for name in ("b", "c"):
        entry = found.classes[name]
        assert {getattr(entry, measure) for measure in MEASURES} == {None}
    assert (found.classes["c"].n, found.classes["c"].positive) == (10, 10)


@settings(deadline=None)
@given(st.lists(groups(), min_size=2, max_size=6), st.booleans())
def test_groups_that_share_calls_have_the_bits_of_each_by_itself(several, brief):
    given_groups = [
        Group(labels=labels, p=p, predicted=p >= 0.5, patients=each(labels))
        for labels, p in several
    ]
    alone = [
        scores(g.labels, g.p, g.predicted, CLASSES, g.patients, brief=brief) for g in given_groups
    ]
    assert scores_of_groups(given_groups, CLASSES, brief=brief) == alone


def test_groups_of_as_many_examples_share_the_calls_of_scikit_learn(monkeypatch):
    asked = []
    original = metrics.roc_auc_score
    monkeypatch.setattr(
        metrics, "roc_auc_score", lambda *g, **k: asked.append(g[0].shape) or original(*g, **k)
    )
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=np.int8)
    p = np.linspace(0, 1, 12).reshape(4, 3)
    one = Group(labels=labels, p=p, predicted=p >= 0.5, patients=each(labels))
    scores_of_groups([one] * 5, CLASSES)
    assert asked == [(4, 15)]


@given(groups())
def test_classes_are_measured_together_as_each_by_itself(group):
    labels, p = group
    labels = labels.copy()
    labels[:, 2] = np.where(labels[:, 1] >= 0, labels[:, 2] > 0, -1)  # annotated where "b" is
    found = scores(labels, p, p >= 0.5, CLASSES, each(labels)).classes
    for c, name in enumerate(CLASSES):
        alone = scores(labels[:, [c]], p[:, [c]], p[:, [c]] >= 0.5, (name,), each(labels))
        assert found[name] == alone.classes[name]


@given(groups())
def test_what_decisions_are_worth_has_the_bits_of_scikit_learn(drawn):
    labels, p = drawn
    predicted = p >= 0.5
    found = scores(labels, p, predicted, CLASSES, each(labels))
    for c, name in enumerate(CLASSES):
        known = labels[:, c] >= 0
        truth, guess = labels[known, c] == 1, predicted[known, c]
        if not 0 < truth.sum() < len(truth):
            continue
        expected = {}
        for names, positive in (
            (("precision", "recall", "f1"), True),
            (("npv", "specificity"), False),
        ):
            values = precision_recall_fscore_support(
                truth == positive, guess == positive, average="binary", zero_division=0.0
            )
            expected |= dict(zip(names, values, strict=False))
        assert expected == {measure: getattr(found.classes[name], measure) for measure in expected}


def test_nothing_measurable_is_none_and_never_nan():
    labels, p = np.zeros((4, 3), dtype=np.int8), np.full((4, 3), 0.3)
    found = scores(labels, p, p >= 0.5, CLASSES, each(labels))
    assert found.macro_classes == ()
    assert found.macro_f1 is found.macro_auroc is found.accuracy is None


def test_the_measures_of_a_class_counted_by_hand():
    labels = np.array([[1], [1], [1], [0], [0], [-1]], dtype=np.int8)
    p = np.array([[0.95], [0.65], [0.25], [0.75], [0.05], [0.5]])
    labels, p = (np.concatenate([column] * 5) for column in (labels, p))  # enough patients
    found = scores(labels, p, p >= 0.5, ["a"], each(labels))
    one = found.classes["a"]
    assert (found.n_records, one.n, one.positive, one.prevalence) == (30, 25, 15, 0.6)
    assert (one.patients, one.positive_patients) == (25, 15)
    assert (one.precision, one.recall, one.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (one.specificity, one.npv) == pytest.approx((1 / 2, 1 / 2))
    assert one.accuracy == found.accuracy == pytest.approx(3 / 5)
    assert one.auroc == pytest.approx(4 / 6)
    assert one.auprc == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    squares = 0.05**2 + 0.35**2 + 0.75**2 + 0.75**2 + 0.05**2
    assert one.brier == found.macro_brier == pytest.approx(squares / 5)
    assert one.brier_skill == pytest.approx(1 - (squares / 5) / (0.6 * 0.4))
    assert one.ece == found.macro_ece == pytest.approx((0.05 + 0.35 + 0.75 + 0.75 + 0.05) / 5)


def test_a_class_that_is_never_predicted_has_a_precision_of_zero():
    p = np.array([[0.2], [0.1]])
    labels = np.array([[1], [0]], np.int8)
    one = scores(labels, p, p >= 0.5, ["a"], each(labels)).classes["a"]
    assert (one.precision, one.recall, one.f1, one.auroc) == (0.0, 0.0, 0.0, 1.0)


def test_in_brief_only_f1_and_auroc_are_measured():
    labels, p = group(50)
    brief = scores(labels, p, p >= 0.5, CLASSES, each(labels), brief=True)
    whole = scores(labels, p, p >= 0.5, CLASSES, each(labels))
    for name in CLASSES:
        measured = {m for m in MEASURES if getattr(brief.classes[name], m) is not None}
        assert measured == {"f1", "auroc"}
        assert None not in dict(whole.classes[name]).values()
    assert (brief.macro_f1, brief.macro_auroc) == (whole.macro_f1, whole.macro_auroc)


def test_a_class_is_averaged_from_five_patients_on_that_show_it_and_five_that_do_not():
    """Of 20 examples of 10 patients each; the first class has many windows of four patients."""
    patients = np.repeat(np.arange(10), 2).astype(str)
    shown = np.array([4, 5, 6])  # patients
    labels = (np.arange(20)[:, None] // 2 < shown).astype(np.int8)
    p = np.where(labels == 1, 0.9, 0.1)
    found = scores(labels, p, p >= 0.5, CLASSES, patients)
    assert found.macro_classes == ("b",)
    assert [found.classes[c].positive_patients for c in CLASSES] == [4, 5, 6]
    assert {found.classes[c].f1 for c in CLASSES} == {1.0}  # measured all the same
    assert MIN_MACRO_PATIENTS == 5


def test_only_the_classes_that_may_be_averaged_are():
    labels, p = group(60)
    found = scores(labels, p, p >= 0.5, CLASSES, each(labels), averaged=("a", "c"))
    assert found.macro_classes == ("a", "c")
    assert found.macro_f1 == pytest.approx((found.classes["a"].f1 + found.classes["c"].f1) / 2)
    assert found.classes["b"].f1 is not None


def test_specificity_and_npv_are_recall_and_precision_of_the_negatives():
    labels, p = group(200)
    found = scores(labels, p, p >= 0.5, CLASSES, each(labels)).classes
    turned = scores(np.where(labels < 0, -1, 1 - labels), 1 - p, p < 0.5, CLASSES, each(labels))
    for name, other in turned.classes.items():
        one = found[name]
        assert (one.specificity, one.npv) == (other.recall, other.precision)


def logistic(n, slope, intercept):
    """Answers whose truth follows a line in log-odds."""
    rng = stream(0, "logistic")
    score = rng.normal(size=n) * 2
    truth = rng.random(n) < 1 / (1 + np.exp(-(intercept + slope * score)))
    return truth, 1 / (1 + np.exp(-score))


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_the_slope_of_a_calibration_is_that_of_the_truth(slope):
    truth, p = logistic(20_000, slope, 0.0)
    found = recalibration(truth, p, np.arange(len(p)))
    assert found["calibration_slope"] == pytest.approx(slope, abs=0.05)


def test_the_intercept_of_a_calibration_is_how_far_the_log_odds_are_too_low():
    truth, p = logistic(20_000, 1.0, -1.0)
    found = recalibration(truth, p, np.arange(len(p)))
    assert found["calibration_intercept"] == pytest.approx(-1.0, abs=0.05)


def test_a_patient_with_many_windows_counts_once_in_a_calibration():
    truth, p = logistic(40, 1.0, 0.5)
    once = recalibration(truth, p, np.arange(40))
    times = np.where(np.arange(40) == 7, 300, 1)
    often = recalibration(truth.repeat(times), p.repeat(times), np.arange(40).repeat(times))
    assert often == pytest.approx(once, abs=1e-4)


def test_a_separated_class_and_equal_answers_have_no_slope():
    truth = np.arange(12) >= 6
    for p in (np.where(truth, 0.9, 0.1), np.where(truth, 0.1, 0.9), np.full(12, 0.3)):
        assert recalibration(truth, p, np.arange(12)).keys() == {"calibration_intercept"}
    assert recalibration(np.ones(3, bool), np.full(3, 0.5), np.arange(3)) == {}


def test_a_calibration_needs_five_patients_with_and_without_the_class():
    labels = np.array([[1]] * 4 + [[0]] * 8, np.int8)
    p = np.linspace(0.2, 0.6, 12)[:, None]
    few = scores(labels, p, p >= 0.5, ["a"], each(labels)).classes["a"]
    assert few.calibration_slope is few.calibration_intercept is None
    labels[4:6] = [[0], [1]]
    enough = scores(labels, p, p >= 0.5, ["a"], each(labels)).classes["a"]
    assert None not in (enough.calibration_slope, enough.calibration_intercept)
