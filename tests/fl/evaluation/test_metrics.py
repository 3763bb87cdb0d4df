"""Measures agree with scikit-learn, and are None where they cannot be computed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, roc_auc_score

from fl.evaluation.bootstrap import bootstrap_macro, draw_patients, interval
from fl.evaluation.metrics import MEASURES, scores
from fl.evaluation.score_histograms import (
    BIN_EDGES,
    BINS,
    confusion_counts,
    confusion_f1s,
    count_scores,
    empty_histograms,
    histogram_aurocs,
)
from fl.evaluation.thresholds import MIN_POSITIVES, best_threshold, choose_thresholds, decide
from fl.util.random_streams import stream

CLASSES = ("a", "b", "c")
probabilities = st.floats(0, 1).map(lambda p: round(p, 7))


def group(n, seed=0):
    """Labels, some not annotated, and scores that know a little about them."""
    rng = stream(seed, "group")
    labels = rng.choice(np.array([-1, 0, 1], dtype=np.int8), size=(n, 3), p=[0.2, 0.5, 0.3])
    logits = rng.normal(size=(n, 3)) + 1.5 * (labels == 1) - 1
    return labels, np.round(1 / (1 + np.exp(-logits)), 7)


def same(one, other):
    return all(np.array_equal(getattr(one, k), getattr(other, k)) for k in vars(one))


@st.composite
def groups(draw):
    n = draw(st.integers(0, 30))
    labels = draw(arrays(np.int8, (n, 3), elements=st.sampled_from([-1, 0, 1])))
    return labels, draw(arrays(np.float64, (n, 3), elements=probabilities))


@given(st.lists(groups(), min_size=1, max_size=4), st.randoms())
def test_tallies_add_in_any_order_to_the_tally_of_all(parts, random):
    whole = count_scores(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    random.shuffle(parts)
    assert same(sum((count_scores(*part) for part in parts), start=empty_histograms(3)), whole)


@given(groups())
def test_a_tally_counts_every_annotated_example_once(group):
    labels, p = group
    counts = count_scores(labels, p)
    assert counts.positive.sum(axis=1).tolist() == (labels == 1).sum(axis=0).tolist()
    assert counts.negative.sum(axis=1).tolist() == (labels == 0).sum(axis=0).tolist()
    assert counts.argmax[:, 1].sum() == len(labels)


def test_auroc_of_a_histogram_is_near_that_of_the_scores():
    labels, p = group(2000)
    for c, found in enumerate(histogram_aurocs(count_scores(labels, p))):
        known = labels[:, c] >= 0
        assert found == pytest.approx(roc_auc_score(labels[known, c], p[known, c]), abs=0.003)


@given(groups())
def test_thresholds_on_an_edge_decide_alike_on_counts_and_on_scores(group):
    labels, p = group
    thresholds = [BIN_EDGES[3], BIN_EDGES[127], BIN_EDGES[250]]
    right, predicted, positive, negative = confusion_counts(count_scores(labels, p), thresholds).T
    guess = (p >= thresholds) & (labels >= 0)
    assert predicted.tolist() == guess.sum(axis=0).tolist()
    assert right.tolist() == (guess & (labels == 1)).sum(axis=0).tolist()
    assert (positive + negative).tolist() == (labels >= 0).sum(axis=0).tolist()


def test_f1_of_counts_is_that_of_scikit_learn():
    labels, p = group(500)
    labels = np.abs(labels)
    found = confusion_f1s(confusion_counts(count_scores(labels, p), [0.5] * 3))
    expected = [f1_score(labels[:, c], p[:, c] >= 0.5) for c in range(3)]
    assert found == pytest.approx(expected)


def test_the_best_threshold_has_the_highest_f1_of_all_edges():
    labels, p = group(400)
    counts = count_scores(labels, p)
    for c in range(3):
        known = labels[:, c] >= 0
        f1s = [f1_score(labels[known, c], p[known, c] >= edge) for edge in BIN_EDGES]
        chosen = best_threshold(counts.positive[c], counts.negative[c])
        assert f1s[BIN_EDGES.tolist().index(chosen)] == pytest.approx(max(f1s))


@given(st.integers(0, BINS - 1))
def test_no_threshold_can_be_chosen_on_one_side_only(at):
    some = np.bincount([at], minlength=BINS)
    assert best_threshold(some, np.zeros_like(some)) is None
    assert best_threshold(np.zeros_like(some), some) is None


def test_a_source_with_few_positives_takes_the_pooled_threshold():
    p = np.linspace(0.05, 0.95, 40)[:, None]
    many = count_scores((np.arange(40) >= 20)[:, None].astype(np.int8), p)
    few = count_scores((np.arange(40) >= 41 - MIN_POSITIVES)[:, None].astype(np.int8), p)
    enough = count_scores((np.arange(40) >= 40 - MIN_POSITIVES)[:, None].astype(np.int8), p)
    chosen = choose_thresholds({"many": many, "few": few}, ["a"])
    assert chosen["few"] == chosen["pooled"]
    chosen = choose_thresholds({"many": many, "enough": enough}, ["a"])
    assert chosen["enough"]["a"] > chosen["pooled"]["a"]


def test_a_class_nobody_shows_is_decided_at_one_half():
    assert choose_thresholds({"x": empty_histograms(1)}, ["a"]) == {
        "pooled": {"a": 0.5},
        "x": {"a": 0.5},
    }


def test_an_unseen_source_is_decided_by_the_pooled_thresholds():
    thresholds = {"pooled": {"a": 0.5, "b": 0.5}, "here": {"a": 0.1, "b": 0.9}}
    p = np.full((3, 2), 0.5)
    predicted = decide(p, ["there", "here", "there"], thresholds, ["a", "b"])
    assert predicted.tolist() == [[True, True], [True, False], [True, True]]


def test_without_thresholds_exactly_the_most_probable_class_is_predicted():
    p = np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2]])
    assert decide(p, ["x", "x"], None, CLASSES).tolist() == [[0, 1, 0], [1, 0, 0]]


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
