"""Histograms of scores count patients, add in any order, and agree with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, roc_auc_score

from fl.evaluation.decisions.score_histograms import (
    BIN_EDGES,
    BIN_LOGITS,
    BINS,
    PATIENT,
    ScoreHistograms,
    confusion_counts,
    confusion_f1s,
    count_scores,
    empty_histograms,
    histogram_aurocs,
    stacked_aurocs,
    stacked_histograms,
)
from fl.util.random_streams import stream

probabilities = st.floats(0, 1).map(lambda p: round(p, 7))


def each(n, first=0):
    """A patient for each example."""
    return np.arange(first, first + n).astype(str)


def group(n, seed=0):
    """Labels, some not annotated, scores that know a little about them, a patient each."""
    rng = stream(seed, "group")
    labels = rng.choice(np.array([-1, 0, 1], dtype=np.int8), size=(n, 3), p=[0.2, 0.5, 0.3])
    logits = rng.normal(size=(n, 3)) + 1.5 * (labels == 1) - 1
    return labels, np.round(1 / (1 + np.exp(-logits)), 7), each(n)


def same(one, other):
    return all(np.array_equal(getattr(one, k), getattr(other, k)) for k in vars(one))


@st.composite
def groups(draw):
    n = draw(st.integers(0, 30))
    labels = draw(arrays(np.int8, (n, 3), elements=st.sampled_from([-1, 0, 1])))
    p = draw(arrays(np.float64, (n, 3), elements=probabilities))
    return labels, p, each(n, first=draw(st.integers(0, 10**9)) * 100)


def counted(labels, p, patients=None):
    """The histograms of one class."""
    column = np.array(labels, np.int8)[:, None], np.array(p)[:, None]
    return count_scores(*column, each(len(p)) if patients is None else np.array(patients))


@given(st.lists(groups(), min_size=1, max_size=4, unique_by=lambda g: g[2].tobytes()), st.randoms())
def test_histograms_of_different_patients_add_in_any_order(parts, random):
    parts = [(labels, p, np.char.add(f"{i}:", who)) for i, (labels, p, who) in enumerate(parts)]
    whole = count_scores(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    random.shuffle(parts)
    assert same(sum((count_scores(*part) for part in parts), start=empty_histograms(3)), whole)


@given(groups())
def test_every_annotated_example_is_counted_once(group):
    labels, _, _ = group
    counts = count_scores(*group)
    assert (counts.positive.sum(axis=1) / PATIENT).tolist() == (labels == 1).sum(axis=0).tolist()
    assert (counts.negative.sum(axis=1) / PATIENT).tolist() == (labels == 0).sum(axis=0).tolist()
    assert counts.patients[:, 0].tolist() == (labels == 1).sum(axis=0).tolist()
    assert counts.patients[:, 1].tolist() == (labels >= 0).sum(axis=0).tolist()


@pytest.mark.parametrize("windows", [1, 2, 170, 3000])
def test_a_patient_of_many_windows_counts_as_one(windows):
    counts = counted([1] * windows + [0], [0.9] * windows + [0.1], ["holter"] * windows + ["b"])
    assert counts.positive.sum() == pytest.approx(PATIENT, rel=2e-3)
    assert counts.negative.sum() == PATIENT
    assert counts.patients.tolist() == [[1, 2]]


def test_a_patient_counts_by_the_share_of_the_windows_that_show_the_class():
    counts = counted([1, 0, 0, 0, -1], [0.9, 0.1, 0.1, 0.1, 0.5], ["one"] * 5)
    assert (counts.positive.sum(), counts.negative.sum()) == (PATIENT / 4, 3 * PATIENT / 4)
    assert counts.patients.tolist() == [[1, 1]]


def test_auroc_of_a_histogram_is_near_that_of_the_scores():
    labels, p, who = group(2000)
    for c, found in enumerate(histogram_aurocs(count_scores(labels, p, who))):
        known = labels[:, c] >= 0
        assert found == pytest.approx(roc_auc_score(labels[known, c], p[known, c]), abs=0.003)


def test_auroc_of_windows_is_that_of_scikit_learn_with_patient_weights():
    labels, p, _ = group(600)
    labels, who = np.abs(labels), np.repeat(np.arange(30), 20).astype(str)
    who[:100] = "0"
    weight = 1 / np.unique(who, return_counts=True)[1][np.unique(who, return_inverse=True)[1]]
    for c, found in enumerate(histogram_aurocs(count_scores(labels, p, who))):
        expected = roc_auc_score(labels[:, c], p[:, c], sample_weight=weight)
        assert found == pytest.approx(expected, abs=0.005)


@given(groups())
def test_thresholds_on_an_edge_decide_alike_on_counts_and_on_scores(group):
    labels, p, who = group
    thresholds = [BIN_EDGES[3], BIN_EDGES[127], BIN_EDGES[250]]
    counts = confusion_counts(count_scores(labels, p, who), thresholds) / PATIENT
    right, predicted, positive, negative = counts.T
    guess = (p >= thresholds) & (labels >= 0)
    assert predicted.tolist() == guess.sum(axis=0).tolist()
    assert right.tolist() == (guess & (labels == 1)).sum(axis=0).tolist()
    assert (positive + negative).tolist() == (labels >= 0).sum(axis=0).tolist()


def test_f1_of_counts_is_that_of_scikit_learn():
    labels, p, who = group(500)
    labels = np.abs(labels)
    found = confusion_f1s(confusion_counts(count_scores(labels, p, who), [0.5] * 3))
    expected = [f1_score(labels[:, c], p[:, c] >= 0.5) for c in range(3)]
    assert found == pytest.approx(expected)


def test_bins_are_a_sixteenth_of_log_odds_wide_about_one_half():
    assert (len(BIN_EDGES), BINS) == (255, 256)
    assert BIN_EDGES[127] == 0.5
    np.testing.assert_array_equal(BIN_EDGES, np.round(BIN_EDGES, 7))
    log_odds = np.log(BIN_EDGES / (1 - BIN_EDGES))
    np.testing.assert_allclose(np.diff(log_odds), 1 / 16, atol=1e-3)
    np.testing.assert_allclose(log_odds, -log_odds[::-1], atol=1e-3)
    np.testing.assert_allclose(BIN_LOGITS[1:-1], (log_odds[1:] + log_odds[:-1]) / 2, atol=1e-3)


def test_the_first_bin_holds_zero_the_last_one_and_an_edge_begins_a_bin():
    positive = counted([1, 1, 1, 1], [0.0, 0.4999, 0.5, 1.0]).positive[0]
    assert np.flatnonzero(positive).tolist() == [0, 127, 128, 255]


@pytest.mark.parametrize(
    ("labels", "p", "auroc"),
    [
        ([1, 0], [0.9, 0.1], 1.0),
        ([1, 0], [0.1, 0.9], 0.0),
        ([1, 0], [0.5, 0.5], 0.5),  # a tie counts half
        ([1, 0, 0, 0], [0.5, 0.9, 0.5, 0.1], 0.5),
        ([1, 1, 0, 0], [0.9, 0.2, 0.5, 0.1], 0.75),
        ([1, 1], [0.9, 0.1], None),
        ([0, 0], [0.9, 0.1], None),
    ],
)
def test_auroc_of_a_histogram_is_the_share_of_pairs_in_order(labels, p, auroc):
    assert histogram_aurocs(counted(labels, p)) == [auroc]


def test_counts_of_decisions_by_thresholds():
    counts = counted([1, 1, 1, 0, 0, -1], [0.9, 0.5, 0.1, 0.6, 0.2, 0.9])
    assert (confusion_counts(counts, [0.5]) / PATIENT).tolist() == [[2, 3, 3, 2]]
    assert confusion_f1s(confusion_counts(counts, [0.5])) == [2 * 2 / (3 + 3)]


def test_a_class_without_a_threshold_has_no_counts():
    labels, p, who = group(50)
    counts = confusion_counts(count_scores(labels, p, who), [0.5, None, 0.5])
    assert counts[1].tolist() == [0, 0, 0, 0]
    assert counts[[0, 2]].all()
    assert confusion_f1s(counts)[1] is None


def test_columns_are_taken_in_the_order_that_is_asked_for():
    labels, p, who = group(50)
    taken = count_scores(labels, p, who).take([2, 0])
    assert same(taken, count_scores(labels[:, [2, 0]], p[:, [2, 0]], who))


def test_f1_of_counts_needs_a_positive_and_a_negative():
    counts = np.array([[0, 1, 0, 3], [1, 1, 3, 0], [1, 2, 1, 1], [0, 0, 1, 1]])
    assert confusion_f1s(counts) == [None, None, pytest.approx(2 / 3), 0.0]


def test_histograms_are_added_count_by_count():
    shape = ((1, BINS), (1, BINS), (1, 2))
    one, two = (ScoreHistograms(*(np.full(s, n + i) for i, s in enumerate(shape))) for n in (1, 5))
    added = one + two
    assert [set(counts.ravel()) for counts in vars(added).values()] == [{6}, {8}, {10}]


@given(st.lists(groups(), min_size=1, max_size=5))
def test_several_sites_at_once_have_the_bits_of_each_alone(parts):
    each_one = [count_scores(*part) for part in parts]
    together = stacked_histograms(each_one)
    aurocs = [[np.nan if a is None else a for a in histogram_aurocs(one)] for one in each_one]
    np.testing.assert_array_equal(stacked_aurocs(together), aurocs)
    thresholds = [0.3, None, 0.7]
    counts = [confusion_counts(one, thresholds) for one in each_one]
    np.testing.assert_array_equal(confusion_counts(together, thresholds), counts)


def test_patients_may_be_named_or_numbered():
    labels, p, _ = group(60)
    number = np.arange(60) % 17
    assert same(count_scores(labels, p, number), count_scores(labels, p, number.astype(str)))
