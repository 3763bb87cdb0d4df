"""Measures agree with scikit-learn, and are None where they cannot be computed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, roc_auc_score

from fl.evaluation.calibration import recalibration
from fl.evaluation.metrics import MEASURES, MIN_MACRO_PATIENTS, scores
from fl.evaluation.score_histograms import (
    BIN_EDGES,
    BINS,
    ScoreHistograms,
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


def each(labels):
    """A patient for each example."""
    return np.arange(len(labels)).astype(str)


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


@given(groups())
def test_classes_are_measured_together_as_each_by_itself(group):
    labels, p = group
    labels = labels.copy()
    labels[:, 2] = np.where(labels[:, 1] >= 0, labels[:, 2] > 0, -1)  # annotated where "b" is
    found = scores(labels, p, p >= 0.5, CLASSES, each(labels)).classes
    for c, name in enumerate(CLASSES):
        alone = scores(labels[:, [c]], p[:, [c]], p[:, [c]] >= 0.5, (name,), each(labels))
        assert found[name] == alone.classes[name]


def test_nothing_measurable_is_none_and_never_nan():
    labels, p = np.zeros((4, 3), dtype=np.int8), np.full((4, 3), 0.3)
    found = scores(labels, p, p >= 0.5, CLASSES, each(labels))
    assert found.macro_classes == ()
    assert found.macro_f1 is found.macro_auroc is found.accuracy is None


def counted(labels, p):
    """The histograms of one class."""
    return count_scores(np.array(labels, np.int8)[:, None], np.array(p)[:, None])


def test_bins_are_a_sixteenth_of_log_odds_wide_about_one_half():
    assert (len(BIN_EDGES), BINS) == (255, 256)
    assert BIN_EDGES[127] == 0.5
    np.testing.assert_array_equal(BIN_EDGES, np.round(BIN_EDGES, 7))
    log_odds = np.log(BIN_EDGES / (1 - BIN_EDGES))
    np.testing.assert_allclose(np.diff(log_odds), 1 / 16, atol=1e-3)
    np.testing.assert_allclose(log_odds, -log_odds[::-1], atol=1e-3)


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


def test_without_thresholds_the_most_probable_class_is_counted():
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [-1, 1]], dtype=np.int8)
    p = np.array([[0.9, 0.2], [0.3, 0.4], [0.1, 0.2], [0.8, 0.1], [0.6, 0.5]])
    # Class 0 is the answer three times and right once, class 1 is it twice and right once.
    assert confusion_counts(count_scores(labels, p)).tolist() == [[1, 3, 2, 2], [1, 2, 2, 3]]


def test_counts_of_decisions_by_thresholds():
    counts = counted([1, 1, 1, 0, 0, -1], [0.9, 0.5, 0.1, 0.6, 0.2, 0.9])
    assert confusion_counts(counts, [0.5]).tolist() == [[2, 3, 3, 2]]
    assert confusion_f1s(confusion_counts(counts, [0.5])) == [2 * 2 / (3 + 3)]


def test_f1_of_counts_needs_a_positive_and_a_negative():
    counts = np.array([[0, 1, 0, 3], [1, 1, 3, 0], [1, 2, 1, 1], [0, 0, 1, 1]])
    assert confusion_f1s(counts) == [None, None, pytest.approx(2 / 3), 0.0]


def test_histograms_are_added_count_by_count():
    shape = ((1, BINS), (1, BINS), (1, 2))
    one, two = (ScoreHistograms(*(np.full(s, n + i) for i, s in enumerate(shape))) for n in (1, 5))
    added = one + two
    found = [set(counts.ravel()) for counts in (added.positive, added.negative, added.argmax)]
    assert found == [{6}, {8}, {10}]


def test_of_several_best_thresholds_the_middle_one_is_taken():
    counts = counted([1, 0], [0.9, 0.1])  # every edge between them is right
    assert best_threshold(counts.positive[0], counts.negative[0]) == 0.5


@pytest.mark.parametrize(
    ("labels", "p"),
    [
        # One half is the only edge between .49 and .51.
        ([1, 1, 0, 0], [0.51, 0.51, 0.49, 0.49]),
        ([1, 1, 1, 0, 0], [0.9, 0.8, 0.51, 0.49, 0.2]),
    ],
)
def test_one_best_threshold_is_taken_as_it_is(labels, p):
    counts = counted(labels, p)
    assert best_threshold(counts.positive[0], counts.negative[0]) == 0.5


@pytest.mark.parametrize(("positives", "own"), [(4, False), (5, True)])
def test_a_source_has_its_own_threshold_from_five_positives_on(positives, own):
    here = counted([1] * positives + [0] * 9, [0.3] * positives + [0.1] * 9)
    there = counted([1] * 50 + [0] * 50, [0.95] * 50 + [0.7] * 50)
    chosen = choose_thresholds({"here": here, "there": there}, ["a"])
    assert chosen["pooled"]["a"] > 0.7
    assert (0.1 < chosen["here"]["a"] <= 0.3) is own
    assert (chosen["here"]["a"] == chosen["pooled"]["a"]) is not own


def test_a_source_of_positives_alone_takes_the_pooled_threshold():
    chosen = choose_thresholds(
        {"all": counted([1] * 9, [0.2] * 9), "both": counted([1, 0], [0.9, 0.6])}, ["a"]
    )
    assert chosen["all"] == chosen["pooled"]


def test_each_class_has_its_own_threshold():
    labels = np.array([[1, 0]] * 6 + [[0, 1]] * 6, dtype=np.int8)
    p = np.array([[0.9, 0.1]] * 6 + [[0.7, 0.3]] * 6)
    chosen = choose_thresholds({"x": count_scores(labels, p)}, ["a", "b"])["x"]
    assert 0.7 < chosen["a"] <= 0.9
    assert 0.1 < chosen["b"] <= 0.3


@pytest.mark.parametrize("threshold", [0.25, 0.75])
def test_a_class_is_predicted_at_its_threshold_and_not_below(threshold):
    p = np.array([[threshold], [threshold - 1e-7]])
    predicted = decide(p, ["x", "x"], {"pooled": {"a": threshold}}, ["a"])
    assert predicted.tolist() == [[True], [False]]


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
