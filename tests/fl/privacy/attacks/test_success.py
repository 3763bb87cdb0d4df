"""Success of an attack: rates against hand-computed bounds, and patients of one group compared."""

import math

import numpy as np
import pytest

from fl.privacy.attacks.success import (
    clopper_pearson,
    epsilon_bound,
    epsilon_of_counts,
    measure,
    true_positives,
)


def measured(scores, members, groups=None, delta=0.0):
    members = np.array(members, dtype=bool)
    groups = np.full(len(members), "a") if groups is None else np.array(groups)
    return measure(np.array(scores, dtype=float), members, groups, delta)


def mixed(rng, n, gap):
    """As many members as others, whose scores are `gap` standard deviations lower."""
    members = np.arange(2 * n) < n
    return rng.normal(size=2 * n) + gap * members, members


def test_clopper_pearson_has_the_ends_of_its_closed_form():
    assert clopper_pearson(20, 20) == pytest.approx((0.025 ** (1 / 20), 1.0))
    assert clopper_pearson(0, 30) == pytest.approx((0.0, 1 - 0.025 ** (1 / 30)))
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_epsilon_is_the_logarithm_of_the_ratio_of_the_bounds():
    tpr, fpr = 0.025 ** (1 / 20), 1 - 0.025 ** (1 / 30)  # .832 and .116
    assert epsilon_of_counts(20, 20, 0, 30, 0.0) == pytest.approx(math.log(tpr / fpr))
    assert epsilon_of_counts(20, 20, 0, 30, 0.1) == pytest.approx(math.log((tpr - 0.1) / fpr))
    # The other way round: few members are taken for others, and many others are.
    assert epsilon_of_counts(30, 30, 0, 10, 0.0) == pytest.approx(
        math.log(0.025 ** (1 / 10) / (1 - 0.025 ** (1 / 30)))
    )
    assert epsilon_of_counts(5, 20, 6, 20, 0.0) == 0.0


def test_at_most_one_of_a_hundred_others_passes_the_threshold():
    members = np.array([198.5, 199.5, 197.5, 197.0, 10.0])
    assert true_positives(members, np.arange(200.0)) == (3, 2)
    assert true_positives(members, np.arange(99.0) + 100) == (2, 0)  # of 99 none may pass
    assert true_positives(members, np.zeros(0)) == (0, 0)


def test_scores_that_divide_members_from_others_are_found(rng):
    found = measured(*mixed(rng, 60, 20.0))
    assert (found.auc.value, found.tpr.value, found.fpr.value) == (1.0, 1.0, 0.0)
    assert found.auc.low > 0.9
    assert found.tpr.low == pytest.approx(0.025 ** (1 / 60))
    assert (
        found.epsilon == found.epsilon_limit == pytest.approx(epsilon_of_counts(30, 30, 0, 30, 0.0))
    )


def test_scores_without_a_meaning_show_nothing(rng):
    found = measured(*mixed(rng, 60, 0.0))
    assert found.auc.low < 0.5 < found.auc.high
    assert found.epsilon == 0.0


def test_an_attack_is_not_praised_for_telling_two_sources_apart(rng):
    # Source b has mostly members and high scores, which say nothing within a source.
    groups = np.repeat(["a", "b"], 60)
    members = np.concatenate([np.arange(60) < 15, np.arange(60) < 45])
    scores = rng.normal(size=120) + 10 * (groups == "b")
    found = measured(scores, members, groups)
    assert found.auc.low < 0.5 < found.auc.high
    assert found.auc.value < 0.65
    assert found.epsilon < 0.3


def test_patients_of_a_source_without_others_are_counted_and_left_out(rng):
    found = measured([1.0, 2.0, 0.5, 9.0], [1, 1, 0, 1], ["a", "a", "a", "b"])
    assert (found.members, found.non_members, found.unmatched) == (2, 1, 1)


def test_fewer_than_ten_patients_on_a_side_have_no_interval(rng):
    found = measured([*range(20), *range(9)], [1] * 20 + [0] * 9)
    assert found.auc.value is not None
    assert (found.auc.low, found.tpr.low, found.fpr.high) == (None, None, None)
    assert (found.epsilon, found.epsilon_limit) == (None, None)
    nobody = measured([1.0, 2.0], [1, 1])
    assert (nobody.auc.value, nobody.tpr.value, nobody.unmatched) == (None, None, 2)


def test_the_threshold_of_epsilon_is_not_chosen_on_the_patients_it_is_measured_on():
    """Over many attacks that guess, the bound is above zero in at most one of twenty."""
    above = 0
    for seed in range(60):
        scores, members = mixed(np.random.default_rng(seed), 40, 0.0)
        above += epsilon_bound(scores, members, 0.0)[0] > 0
    assert above <= 4
