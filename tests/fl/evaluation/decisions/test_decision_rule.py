"""Calibration, thresholds and decisions follow from counts of patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.decision_rule import (
    DecisionRule,
    answer,
    choose_rule,
    own_rule,
)
from fl.evaluation.decisions.platt_scaling import (
    IDENTITY,
    PRIOR_SD,
    PlattMap,
    fit_platt,
    log_odds,
    sigmoid,
)
from fl.evaluation.decisions.score_histograms import BIN_LOGITS, BINS, PATIENT, count_scores
from fl.evaluation.decisions.thresholds import (
    MIN_POSITIVES,
    MOST_PREDICTED,
    best_threshold,
    thresholds_near,
    thresholds_of,
)
from fl.util.random_streams import stream

CLASSES = RHYTHM.classes


def one_class(labels, p, patients=None):
    who = np.arange(len(p)).astype(str) if patients is None else np.array(patients)
    return count_scores(np.array(labels, np.int8)[:, None], np.array(p)[:, None], who)


def drawn(n, slope, intercept, seed=0):
    """Log-odds of a network, and truth that follows them with this slope and intercept."""
    rng = stream(seed, "drawn")
    logits = rng.normal(-1, 2, size=n)
    return (rng.random(n) < sigmoid(slope * logits + intercept)).astype(np.int8), sigmoid(logits)


def fitted(labels, p, prior=IDENTITY, patients=None):
    counts = one_class(labels, p, patients)
    return fit_platt(counts.positive[0], counts.negative[0], prior)


def test_with_many_patients_the_fit_is_that_of_scikit_learn():
    labels, p = drawn(20_000, slope=0.6, intercept=-0.8)
    found = fitted(labels, p)
    fit = LogisticRegression(C=1e9).fit(log_odds(p)[:, None], labels)
    assert found.slope == pytest.approx(fit.coef_[0, 0], abs=0.01)
    assert found.intercept == pytest.approx(fit.intercept_[0], abs=0.01)


@pytest.mark.parametrize("n", [3, 40, 400])
def test_the_fit_is_the_most_probable_one(n):
    labels, p = drawn(n, slope=0.3, intercept=1.5)
    counts, prior = one_class(labels, p), PlattMap(slope=1.2, intercept=-0.5)
    found = fit_platt(counts.positive[0], counts.negative[0], prior)
    positive, negative = counts.positive[0] / PATIENT, counts.negative[0] / PATIENT

    def cost(at):
        logits = at[0] * BIN_LOGITS + at[1]
        loss = positive @ np.logaddexp(0, -logits) + negative @ np.logaddexp(0, logits)
        return loss + (((at - [prior.slope, prior.intercept]) / PRIOR_SD) ** 2).sum() / 2

    best = minimize(cost, [1.0, 0.0], tol=1e-10).x
    assert [found.slope, found.intercept] == pytest.approx(best, abs=1e-4)


def test_without_a_patient_the_prior_stays():
    none, prior = np.zeros(BINS, dtype=np.int64), PlattMap(slope=0.7, intercept=0.2)
    assert fit_platt(none, none, prior) == prior


def test_many_windows_of_one_patient_move_the_fit_as_one_patient_does():
    one = fitted([1], [0.1])
    many = fitted([1] * 170, [0.1] * 170, patients=["holter"] * 170)
    people = fitted([1] * 170, [0.1] * 170)
    assert many.intercept == pytest.approx(one.intercept, abs=1e-3)
    assert people.intercept > many.intercept + 1


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_a_fit_keeps_the_order_of_scores(examples):
    found = fitted(*zip(*examples, strict=True))
    assert found.slope > 0
    assert np.isfinite(found.intercept)


def test_a_source_of_few_patients_stays_near_the_calibration_of_all():
    labels, p = drawn(2000, slope=0.5, intercept=-1)
    all_patients = fitted(labels, p)
    few = fitted([1, 0], [0.9, 0.2], prior=all_patients)
    assert abs(few.slope - all_patients.slope) < 0.3
    assert abs(few.intercept - all_patients.intercept) < 0.5


def test_calibrated_probabilities_mean_what_they_say():
    labels, p = drawn(20_000, slope=0.5, intercept=-1)
    calibrated = sigmoid(fitted(labels, p).apply(log_odds(p)))
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (calibrated >= low) & (calibrated < low + 0.2)
        assert labels[inside].mean() == pytest.approx(calibrated[inside].mean(), abs=0.03)


def test_the_threshold_has_the_highest_expected_f1():
    labels, p = drawn(50_000, slope=1, intercept=0)
    counts = one_class(labels, p)
    found = best_threshold(counts.positive[0], counts.negative[0], IDENTITY)
    grid = np.linspace(0.05, 0.95, 91)
    f1s = [2 * (p[p >= t]).sum() / ((p >= t).sum() + p.sum()) for t in grid]
    best = grid[int(np.argmax(f1s))]
    predicted = (p >= found).sum() / p.sum()
    assert found == pytest.approx(best, abs=0.03) or predicted == pytest.approx(
        MOST_PREDICTED, abs=0.05
    )


def test_no_threshold_calls_nearly_everyone_ill():
    # A class of one in ten that the scores know nothing of: predicting everyone has the best F1.
    counts = one_class([1] * 50 + [0] * 450, [0.1] * 500)
    spread = one_class([1, 0] * 50 + [0] * 400, np.linspace(0.06, 0.14, 500))
    for scores in (counts, spread):
        platt = fit_platt(scores.positive[0], scores.negative[0])
        threshold = best_threshold(scores.positive[0], scores.negative[0], platt)
        p = sigmoid(platt.apply(BIN_LOGITS))
        weight = (scores.positive[0] + scores.negative[0]) / PATIENT
        edge = weight[p >= threshold]
        assert edge[1:].sum() <= MOST_PREDICTED * weight @ p


@given(st.integers(0, BINS - 1))
def test_no_threshold_can_be_chosen_on_one_side_only(at):
    some = np.bincount([at], minlength=BINS) * PATIENT
    assert best_threshold(some, np.zeros_like(some), IDENTITY) is None
    assert best_threshold(np.zeros_like(some), some, IDENTITY) is None


def chosen_thresholds(**by_source):
    """Of each source, and `all`: that of all sources together."""
    same, whole = {"a": IDENTITY}, sum(by_source.values(), start=one_class([], []))
    shared = thresholds_of(whole, same, ["a"])
    own = {s: thresholds_near(shared, scores, same, ["a"]) for s, scores in by_source.items()}
    return {"all": shared, **own}


@pytest.mark.parametrize(("positives", "own"), [(MIN_POSITIVES - 1, False), (MIN_POSITIVES, True)])
def test_a_source_has_a_threshold_of_its_own_from_five_patients_on(positives, own):
    here = one_class([1] * positives + [0] * 9, [0.45] * positives + [0.1] * 9)
    there = one_class([1] * 50 + [0] * 50, [0.95] * 50 + [0.3] * 50)
    chosen = chosen_thresholds(here=here, there=there)
    assert (chosen["here"]["a"] == chosen["all"]["a"]) is not own


def test_windows_of_one_patient_give_a_source_no_threshold_of_its_own():
    windows = one_class([1] * 50 + [0] * 50, [0.45] * 50 + [0.1] * 50, ["one"] * 100)
    there = one_class([1] * 50 + [0] * 50, [0.95] * 50 + [0.3] * 50)
    chosen = chosen_thresholds(holter=windows, there=there)
    assert chosen["holter"] == chosen["all"]


def test_the_more_patients_the_nearer_a_source_is_to_its_own_threshold():
    there = one_class([1] * 500 + [0] * 500, [0.95] * 500 + [0.3] * 500)
    alone = one_class([1] * 5 + [0] * 20, [0.45] * 5 + [0.1] * 20)
    own = best_threshold(alone.positive[0], alone.negative[0], IDENTITY)
    apart = []
    for n in (5, 20, 80):
        here = one_class([1] * n + [0] * 4 * n, [0.45] * n + [0.1] * 4 * n)
        apart.append(abs(chosen_thresholds(here=here, there=there)["here"]["a"] - own))
    assert apart[0] > apart[1] > apart[2]


def test_a_class_that_nobody_shows_is_decided_at_one_half():
    assert chosen_thresholds(x=one_class([0], [0.2])) == {"all": {"a": 0.5}, "x": {"a": 0.5}}


def rule(alone="NSR", **thresholds):
    chosen = {s: dict.fromkeys(CLASSES, 0.5) | own for s, own in thresholds.items()}
    chosen.setdefault("pooled", dict.fromkeys(CLASSES, 0.5))
    same = {source: dict.fromkeys(CLASSES, IDENTITY) for source in chosen}
    return DecisionRule(thresholds=chosen, calibration=same, alone=alone, otherwise="")


def probabilities(**p):
    return np.array([[p.get(c, 0.1) for c in CLASSES]])


def decided(rule, source="clinic", **p):
    _, found = answer(rule, probabilities(**p), [source], CLASSES)
    return [c for c, yes in zip(CLASSES, found[0], strict=True) if yes]


def test_several_classes_may_be_predicted_together():
    assert decided(rule(), AF=0.6, PVC=0.9) == ["AF", "PVC"]


def test_nsr_is_predicted_alone_or_not_at_all():
    assert decided(rule(), NSR=0.9, AF=0.6) == ["NSR"]
    assert decided(rule(), NSR=0.6, AF=0.9, PVC=0.55) == ["AF", "PVC"]
    assert decided(rule(alone=""), NSR=0.9, AF=0.6) == ["NSR", "AF"]


def test_what_decides_is_the_distance_above_the_threshold():
    strict = rule(pooled={"NSR": 0.85})
    assert decided(strict, NSR=0.9, AF=0.8) == ["AF"]


def test_a_probability_at_the_threshold_is_predicted_and_one_below_is_not():
    assert decided(rule(), AF=0.5) == ["AF"]
    assert decided(rule(), AF=0.4999999) == []


def test_an_unseen_source_is_decided_by_the_pooled_entries():
    own = rule(clinic={"AF": 0.2})
    assert decided(own, "clinic", AF=0.3) == ["AF"]
    assert decided(own, "elsewhere", AF=0.3) == []


def test_each_source_is_calibrated_by_its_own_entries():
    maps = {"pooled": IDENTITY, "clinic": PlattMap(slope=2.0, intercept=1.0)}
    made = DecisionRule(
        thresholds={s: dict.fromkeys(CLASSES, 0.5) for s in maps},
        calibration={s: dict.fromkeys(CLASSES, m) for s, m in maps.items()},
        alone="",
        otherwise="",
    )
    p = np.repeat(probabilities(AF=0.3), 2, axis=0)
    found, _ = answer(made, p, ["clinic", "new"], CLASSES)
    assert found[1] == pytest.approx(p[1], abs=1e-6)
    assert found[0] == pytest.approx(sigmoid(2 * log_odds(p[0]) + 1), abs=1e-6)


def test_a_rule_is_chosen_for_every_source_and_for_new_ones():
    labels, p = drawn(300, slope=0.7, intercept=-0.5)
    table = np.repeat(labels[:, None], 9, axis=1), np.repeat(p[:, None], 9, axis=1)
    scores = count_scores(*table, np.arange(300).astype(str))
    made = choose_rule({"b": scores, "a": scores}, RHYTHM)
    assert set(made.thresholds) == set(made.calibration) == {"pooled", "a", "b"}
    assert made.alone == "NSR"
    assert DecisionRule.from_json(made.to_json(), "the rule") == made
    raw = made.raw_thresholds("a", CLASSES)
    back = sigmoid(made.calibration["a"]["AF"].apply(log_odds(np.array([raw[1]]))))
    assert back[0] == pytest.approx(made.thresholds["a"]["AF"])


def test_findings_are_rarer_at_a_source_that_nobody_trained_on():
    labels, p = drawn(3000, slope=1, intercept=0)
    table = np.repeat(labels[:, None], 9, axis=1), np.repeat(p[:, None], 9, axis=1)
    made = choose_rule({"a": count_scores(*table, np.arange(3000).astype(str))}, RHYTHM)
    calibrated, _ = answer(made, np.full((2, 9), 0.4), ["a", "new"], CLASSES)
    odds = calibrated / (1 - calibrated)
    share = dict(zip(CLASSES, (odds[1] / odds[0]).tolist(), strict=True))
    assert share["NSR"] == pytest.approx(1, abs=0.02)
    assert share["AF"] == pytest.approx(RHYTHM.new_source_odds, abs=0.02)


def test_no_example_has_no_answer():
    p, found = answer(rule(), np.zeros((0, 9)), [], CLASSES)
    assert p.shape == found.shape == (0, 9)


def separated(positives, negatives=40):
    """As many patients with every class, who score .3, and without it, who score .1."""
    labels = np.array([1] * positives + [0] * negatives, np.int8)
    p = np.where(labels == 1, 0.3, 0.1)
    table = np.repeat(labels[:, None], 9, axis=1), np.repeat(p[:, None], 9, axis=1)
    return count_scores(*table, np.arange(len(labels)).astype(str))


def test_many_patients_decide_a_sites_own_rule_and_few_hardly_change_it():
    sent = rule(pooled=dict.fromkeys(CLASSES, 0.9))
    found = {n: own_rule(sent, {"here": separated(n)}, RHYTHM) for n in (4, 5, 200)}
    thresholds = {n: made.thresholds["here"]["AF"] for n, made in found.items()}
    assert thresholds[4] == 0.9
    assert thresholds[4] > thresholds[5] > thresholds[200]
    assert {made.thresholds["pooled"]["AF"] for made in found.values()} == {0.9}
    assert found[200].calibration["here"]["AF"] != IDENTITY


def test_a_site_without_validation_patients_keeps_the_rule_that_it_was_sent():
    assert own_rule(rule(), {}, RHYTHM) == rule()
