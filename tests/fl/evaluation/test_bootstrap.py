"""Draws of patients within their main classes, and the intervals that follow from them."""

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import f1_score, roc_auc_score

from fl.evaluation.bootstrap import (
    MIN_INTERVAL_PATIENTS,
    BootstrapEstimate,
    bootstrap_estimates,
    bootstrap_macro,
    difference_interval,
    draw_patients,
    interval,
    main_classes,
    p_value,
    weighted_mean,
)
from fl.evaluation.metrics import scores
from fl.util.random_streams import stream

CLASSES = ("a", "b", "c")


def group(n, seed=0):
    """Labels, some not annotated, and scores that know a little about them."""
    rng = stream(seed, "group")
    labels = rng.choice(np.array([-1, 0, 1], dtype=np.int8), size=(n, 3), p=[0.2, 0.5, 0.3])
    logits = rng.normal(size=(n, 3)) + 1.5 * (labels == 1) - 1
    return labels, np.round(1 / (1 + np.exp(-logits)), 7)


def figure(value=0.8, error=0.05, patients=40.0, freedom=19.0):
    """A figure whose draws have this standard deviation."""
    return BootstrapEstimate(value, value + error * np.tile([-1.0, 1.0], 50), patients, freedom)


def test_draws_are_scikit_learns_measures_with_sample_weights():
    labels, p = group(150)
    p = np.round(p, 1)  # many ties
    predicted = p >= 0.5
    patients = np.array([f"p{i % 40}" for i in range(150)])
    draws = draw_patients(patients, labels, seed=3, draws=25)
    found = bootstrap_macro(labels, p, predicted, draws, range(3))
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
    draws = draw_patients(patients, np.zeros((40, 1), np.int8), seed=0, draws=50)
    assert draws.weights.shape == (50, 2)
    assert (draws.weights.sum(axis=1) == 2).all()


def test_the_main_class_of_a_patient_is_the_rarest_that_the_patient_shows():
    labels = np.zeros((13, 3), np.int8)
    labels[:6, 0] = labels[4:8, 1] = labels[8, 2] = 1
    patient = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0])
    # Class 0 is of patients 0 to 5 and class 1 of 4 to 7; 8 is alone, 9 to 11 show nothing.
    expected = [0, 0, 0, 0, 1, 1, 1, 1, 4, 3, 3, 3]
    assert main_classes(labels, patient, 12).tolist() == expected


def test_patients_who_are_alone_in_their_class_are_one_stratum():
    labels = np.eye(3, dtype=np.int8)
    assert main_classes(labels, np.arange(3), 3).tolist() == [4, 4, 4]


def test_no_draw_lacks_a_main_class_and_its_size_varies():
    """Without strata, one draw in eight would lack both patients of the class."""
    labels = (np.arange(30) < 2).astype(np.int8)[:, None]
    weights = draw_patients(np.arange(30).astype(str), labels, seed=0).weights
    patients = np.arange(30).astype(str)
    shown = weights[:, np.isin(np.unique(patients), ["0", "1"])].sum(axis=1)
    assert shown.min() == 1
    assert shown.max() > 3
    assert shown.mean() == pytest.approx(2, abs=0.4)


def test_a_draw_that_lacks_a_class_is_left_out_as_a_whole():
    labels = np.array([[1, 1], [0, 0], [0, 1], [1, 0]], np.int8)
    p = np.where(labels == 1, 0.9, 0.1)
    draws = draw_patients(np.array(list("wxyz")), labels, seed=0, draws=200)
    found = bootstrap_macro(labels, p, p >= 0.5, draws, [0, 1])
    drawn = draws.weights > 0
    both = np.ones(200, dtype=bool)
    for c in range(2):
        both &= drawn[:, labels[:, c] == 1].any(axis=1) & drawn[:, labels[:, c] == 0].any(axis=1)
    assert 0 < both.sum() < 200
    for values in found.values():
        np.testing.assert_array_equal(values, np.where(both, 1.0, np.nan))


def test_without_a_class_there_are_draws_and_nothing_measured():
    none = np.zeros((2, 0))
    draws = draw_patients(np.array(["one", "other"]), none.astype(np.int8), seed=0, draws=7)
    for values in bootstrap_macro(none.astype(np.int8), none, none > 0, draws, []).values():
        np.testing.assert_array_equal(values, np.full(7, np.nan))


def estimated(n, seed=0):
    labels, p = group(n)
    patients = np.arange(n).astype(str)
    found = scores(labels, p, p >= 0.5, CLASSES, patients)
    return found, bootstrap_estimates(found, labels, p, p >= 0.5, patients, seed)


def test_an_interval_contains_the_value_and_narrows_with_more_patients():
    widths = []
    for n in (60, 600):
        found, estimates = estimated(n)
        for name, one in estimates.items():
            low, high = interval(one, n)
            assert low < getattr(found, name) == one.value < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_same_seed_gives_the_same_draws_and_another_name_others():
    labels, patients = group(20)[0], np.arange(20).astype(str)
    one, other = (draw_patients(patients, labels, seed=5).weights for _ in range(2))
    np.testing.assert_array_equal(one, other)
    named = draw_patients(patients, labels, seed=5, group="site-1").weights
    assert not np.array_equal(one, named)


def test_fewer_than_ten_patients_have_no_interval_of_any_kind():
    assert MIN_INTERVAL_PATIENTS == 10
    for ends in (interval, difference_interval):
        assert ends(figure(), 9) == (None, None)
        assert None not in ends(figure(), 10)
    assert p_value(figure(), 9) is None
    assert p_value(figure(), 10) is not None


def test_what_has_too_few_draws_with_a_value_has_no_interval():
    draws = np.append(np.linspace(0.7, 0.9, 20), [np.nan] * 5)
    assert interval(BootstrapEstimate(0.8, draws, 40.0, 19.0), 20)[0] is not None
    assert interval(BootstrapEstimate(0.8, draws[1:], 40.0, 19.0), 20) == (None, None)
    assert interval(BootstrapEstimate(None, draws, 40.0, 19.0), 20) == (None, None)


def test_an_interval_of_a_difference_is_students():
    found = figure(value=0.1, error=0.05, patients=40.0, freedom=19.0)
    half = t.ppf(0.975, 19) * np.hypot(0.05, 0.5 / 40)
    assert difference_interval(found, 20) == pytest.approx((0.1 - half, 0.1 + half))


@pytest.mark.parametrize("value", [0.9, -0.9])
def test_an_interval_of_a_difference_ends_where_no_difference_can_be(value):
    low, high = difference_interval(figure(value=value, error=0.2, patients=40.0, freedom=19.0), 20)
    assert (1.0 if value > 0 else -1.0) in (low, high)
    assert -1 <= low < value < high <= 1


@pytest.mark.parametrize("value", [0.05, 0.1, 0.12, -0.2])
def test_a_p_below_five_percent_is_an_interval_without_zero(value):
    found = figure(value=value)
    low, high = difference_interval(found, 20)
    assert (p_value(found, 20) < 0.05) is (low > 0 or high < 0)


def test_few_patients_who_are_all_answered_rightly_do_not_mean_that_all_others_would_be():
    low, high = interval(figure(value=1.0, error=0.0, patients=5.0, freedom=4.0), 10)
    assert low < 0.6
    assert high == 1.0
    more, _ = interval(figure(value=1.0, error=0.0, patients=500.0, freedom=99.0), 1000)
    assert more > 0.95


def test_an_interval_is_between_zero_and_one():
    low, high = interval(figure(value=0.97, error=0.1, patients=8.0, freedom=4.0), 10)
    assert 0 < low < 0.97 < high < 1


def test_a_weighted_mean_of_independent_parts():
    one, other = figure(0.8, 0.03, 10.0, 4.0), figure(0.6, 0.04, 20.0, 9.0)
    mean = weighted_mean([one, other], [3.0, 1.0])
    assert mean.value == pytest.approx(0.75)
    np.testing.assert_allclose(mean.draws, 0.75 * one.draws + 0.25 * other.draws)
    assert mean.patients == 30
    assert 4 < mean.freedom < 13


def test_a_mean_leaves_out_the_parts_that_cannot_be_measured():
    none = BootstrapEstimate(None, np.full(100, np.nan))
    mean = weighted_mean([none, figure(0.6)], [100.0, 1.0])
    assert (mean.value, mean.freedom) == (0.6, 19.0)
    assert weighted_mean([none, none], [1.0, 1.0]).value is None


def test_a_draw_without_a_value_at_one_part_has_no_mean():
    gone = figure(0.8)
    gone.draws[0] = np.nan
    assert np.isnan(weighted_mean([gone, figure(0.6)], [1.0, 1.0]).draws).tolist() == (
        [True] + [False] * 99
    )


def test_models_on_the_same_records_are_not_more_evidence_than_one():
    mean = weighted_mean([figure(), figure()], [1.0, 1.0], paired=True)
    assert (mean.patients, mean.freedom) == (40.0, 19.0)
