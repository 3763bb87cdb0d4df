"""Measures agree with scikit-learn, and are None where they cannot be computed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, roc_auc_score

from fl.evaluation.bootstrap import bootstrap_macro, draw_patients, interval
from fl.evaluation.metrics import MEASURES, scores
from fl.util.random_streams import stream

CLASSES = ("a", "b", "c")
probabilities = st.floats(0, 1).map(lambda p: round(p, 7))


def group(n, seed=0):
    """Labels, some not annotated, and scores that know a little about them."""
    rng = stream(seed, "group")
    labels = rng.choice(np.array([-1, 0, 1], dtype=np.int8), size=(n, 3), p=[0.2, 0.5, 0.3])
    logits = rng.normal(size=(n, 3)) + 1.5 * (labels == 1) - 1
    return labels, np.round(1 / (1 + np.exp(-logits)), 7)


@st.composite
def groups(draw):
    n = draw(st.integers(0, 30))
    labels = draw(arrays(np.int8, (n, 3), elements=st.sampled_from([-1, 0, 1])))
    return labels, draw(arrays(np.float64, (n, 3), elements=probabilities))


def test_a_class_without_a_positive_or_a_negative_is_none_and_not_in_the_macro_average():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, -1]], dtype=np.int8)
    p = np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1], [0.4, 0.2, 0.2]])
    found = scores(labels, p, p >= 0.5, CLASSES)
    assert found.macro_classes == ("a",)
    assert found.macro_f1 == pytest.approx(2 / 3)
    assert found.macro_auroc == 1.0
    for name in ("b", "c"):
        entry = found.classes[name]
        assert {getattr(entry, measure) for measure in MEASURES} == {None}
    assert (found.classes["c"].n, found.classes["c"].positive) == (2, 2)


@given(groups())
def test_classes_are_measured_together_as_each_by_itself(group):
    labels, p = group
    labels = labels.copy()
    labels[:, 2] = np.where(labels[:, 1] >= 0, labels[:, 2] > 0, -1)  # annotated where "b" is
    found = scores(labels, p, p >= 0.5, CLASSES).classes
    for c, name in enumerate(CLASSES):
        alone = scores(labels[:, [c]], p[:, [c]], p[:, [c]] >= 0.5, (name,))
        assert found[name] == alone.classes[name]


def test_nothing_measurable_is_none_and_never_nan():
    labels, p = np.zeros((4, 3), dtype=np.int8), np.full((4, 3), 0.3)
    found = scores(labels, p, p >= 0.5, CLASSES)
    assert found.macro_classes == ()
    assert found.macro_f1 is found.macro_auroc is found.accuracy is None
    draws = bootstrap_macro(labels, p, p >= 0.5, draw_patients(np.array(list("wxyz")), 0))
    assert interval(draws["macro_auroc"]) == (None, None)


def test_bootstrap_measures_are_scikit_learns_with_sample_weights():
    labels, p = group(150)
    p = np.round(p, 1)  # many ties
    predicted = p >= 0.5
    patients = np.array([f"p{i % 40}" for i in range(150)])
    draws = draw_patients(patients, seed=3, draws=25)
    found = bootstrap_macro(labels, p, predicted, draws)
    for i, weights in enumerate(draws.weights):
        w = weights[draws.patient]
        f1s, aurocs = [], []
        for c in range(3):
            known = labels[:, c] >= 0
            truth = labels[known, c]
            f1s.append(f1_score(truth, predicted[known, c], sample_weight=w[known]))
            aurocs.append(roc_auc_score(truth, p[known, c], sample_weight=w[known]))
        assert found["macro_f1"][i] == pytest.approx(np.mean(f1s))
        assert found["macro_auroc"][i] == pytest.approx(np.mean(aurocs))


def test_patients_are_drawn_and_not_records():
    patients = np.array(["one"] * 30 + ["other"] * 10)
    draws = draw_patients(patients, seed=0, draws=50)
    assert draws.weights.shape == (50, 2)
    assert (draws.weights.sum(axis=1) == 2).all()


def test_an_interval_contains_the_value_and_narrows_with_more_patients():
    widths = []
    for n in (60, 600):
        labels, p = group(n)
        predicted = p >= 0.5
        value = scores(labels, p, predicted, CLASSES)
        draws = bootstrap_macro(labels, p, predicted, draw_patients(np.arange(n).astype(str), 0))
        for name in ("macro_f1", "macro_auroc"):
            low, high = interval(draws[name])
            assert low < getattr(value, name) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_same_seed_gives_the_same_interval():
    patients = np.arange(20).astype(str)
    one, other = (draw_patients(patients, seed=5).weights for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_the_measures_of_a_class_counted_by_hand():
    labels = np.array([[1], [1], [1], [0], [0], [-1]], dtype=np.int8)
    p = np.array([[0.95], [0.65], [0.25], [0.75], [0.05], [0.5]])
    found = scores(labels, p, p >= 0.5, ["a"])
    one = found.classes["a"]
    assert (found.n_records, one.n, one.positive, one.prevalence) == (6, 5, 3, 0.6)
    assert (one.precision, one.recall, one.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert one.accuracy == found.accuracy == pytest.approx(3 / 5)
    assert one.auroc == pytest.approx(4 / 6)
    assert one.auprc == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    squares = 0.05**2 + 0.35**2 + 0.75**2 + 0.75**2 + 0.05**2
    assert one.brier == found.macro_brier == pytest.approx(squares / 5)
    assert one.ece == found.macro_ece == pytest.approx((0.05 + 0.35 + 0.75 + 0.75 + 0.05) / 5)


def test_a_class_that_is_never_predicted_has_a_precision_of_zero():
    p = np.array([[0.2], [0.1]])
    one = scores(np.array([[1], [0]], np.int8), p, p >= 0.5, ["a"]).classes["a"]
    assert (one.precision, one.recall, one.f1, one.auroc) == (0.0, 0.0, 0.0, 1.0)


def test_in_brief_only_f1_and_auroc_are_measured():
    labels, p = group(50)
    brief = scores(labels, p, p >= 0.5, CLASSES, brief=True)
    whole = scores(labels, p, p >= 0.5, CLASSES)
    for name in CLASSES:
        measured = {m for m in MEASURES if getattr(brief.classes[name], m) is not None}
        assert measured == {"f1", "auroc"}
        assert None not in dict(whole.classes[name]).values()
    assert (brief.macro_f1, brief.macro_auroc) == (whole.macro_f1, whole.macro_auroc)


def test_a_draw_of_positives_or_negatives_alone_has_no_measures():
    labels, p = np.array([[1], [0]], np.int8), np.array([[0.9], [0.1]])
    draws = draw_patients(np.array(["one", "other"]), seed=0, draws=50)
    found = bootstrap_macro(labels, p, p >= 0.5, draws)
    both = (draws.weights == 1).all(axis=1)
    assert 0 < both.sum() < 50
    for values in found.values():
        np.testing.assert_array_equal(values, np.where(both, 1.0, np.nan))


def test_without_a_class_there_are_draws_and_nothing_measured():
    draws = draw_patients(np.array(["one", "other"]), seed=0, draws=7)
    none = np.zeros((2, 0))
    for values in bootstrap_macro(none.astype(np.int8), none, none > 0, draws).values():
        np.testing.assert_array_equal(values, np.full(7, np.nan))


def test_an_interval_is_the_middle_ninety_five_percent_of_twenty_values_or_more():
    assert interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    some = np.append(np.arange(20.0), [np.nan, np.nan])
    assert interval(some) == pytest.approx((19 * 0.025, 19 * 0.975))
    assert interval(some[1:]) == (None, None)
