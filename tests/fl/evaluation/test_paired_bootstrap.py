"""Differences against a bootstrap written out by hand, and the words that follow from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from fl.evaluation.bootstrap import (
    BootstrapEstimate,
    bootstrap_estimates,
    difference_interval,
    draw_patients,
)
from fl.evaluation.difference_sentences import (
    difference_sentence,
    seeds_sentence,
    signed,
    sites_above_sentence,
)
from fl.evaluation.margins import MARGINS, non_inferior
from fl.evaluation.metrics import scores
from fl.evaluation.paired_bootstrap import (
    Difference,
    difference,
    holm,
    is_significant,
    share_interval,
)
from fl.util.random_streams import stream

DRAWS = 60


@pytest.fixture(scope="module")
def group():
    """60 records of 20 patients, 3 classes, the last annotated for half; two models' answers."""
    rng = stream(0, "differences")
    labels = rng.integers(0, 2, (60, 3)).astype(np.int8)
    labels[30:, 2] = -1
    patients = np.array([f"p{i}" for i in rng.permutation(np.arange(60) % 20)])
    p = np.round(np.clip(rng.random((2, 60, 3)) * 0.6 + 0.4 * labels.clip(0), 0, 1), 7)
    return labels, p, patients


def measured(group, model, name="central", seed=5):
    labels, p, patients = group
    predicted = p[model] >= 0.5
    found = scores(labels, p[model], predicted, ["a", "b", "c"], patients)
    return bootstrap_estimates(
        found, labels, p[model], predicted, patients, seed, DRAWS, group=name
    )


def by_hand(labels, p, metric):
    """Macro average over the classes with a positive and a negative record, by scikit-learn."""
    values = []
    for c in range(labels.shape[1]):
        known = labels[:, c] >= 0
        y, score = labels[known, c], p[known, c]
        if len(set(y.tolist())) == 2:
            one = f1_score(y, score >= 0.5) if metric == "macro_f1" else roc_auc_score(y, score)
            values.append(one)
    return np.mean(values) if values else np.nan


@pytest.mark.parametrize("metric", ["macro_f1", "macro_auroc"])
def test_a_difference_is_that_of_a_paired_bootstrap_written_out(group, metric):
    labels, p, patients = group
    found = difference(measured(group, 0)[metric], measured(group, 1)[metric], 20)
    drawn = []
    draws = draw_patients(patients, labels, 5, DRAWS, group="central")
    for weights in draws.weights.astype(int):
        taken = np.repeat(np.arange(60), weights[draws.patient])  # the same for both models
        one, other = (by_hand(labels[taken], p[m][taken], metric) for m in (0, 1))
        drawn.append(one - other)
    whole = by_hand(labels, p[0], metric) - by_hand(labels, p[1], metric)
    assert found.value == pytest.approx(whole)
    one = measured(group, 0)[metric]
    by_hand_too = BootstrapEstimate(whole, np.array(drawn), one.patients, one.freedom)
    assert (found.low, found.high) == pytest.approx(difference_interval(by_hand_too, 20))


def test_a_model_does_not_differ_from_itself(group):
    for figure in measured(group, 0).values():
        found = difference(figure, figure, 20)
        assert (found.value, found.p_value) == (0.0, 1.0)
        assert found.low == -found.high
        assert found.high < 0.1  # half a patient


def test_turned_round_a_difference_changes_its_sign(group):
    one, other = measured(group, 0)["macro_f1"], measured(group, 1)["macro_f1"]
    there, back = difference(one, other, 20), difference(other, one, 20)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-there.value, -there.high, -there.low)
    )


def test_groups_of_one_size_are_drawn_independently(group):
    here, there = (measured(group, 0, name)["macro_f1"].draws for name in ("site-1", "site-2"))
    assert not np.array_equal(here, there)
    again = measured(group, 0, "site-1")["macro_f1"].draws
    np.testing.assert_array_equal(here, again)


def test_few_patients_have_a_difference_and_no_interval(group):
    one, other = measured(group, 0)["macro_f1"], measured(group, 1)["macro_f1"]
    found = difference(one, other, 9)
    assert found.value == difference(one, other, 10).value
    assert (found.low, found.high) == (None, None)
    assert difference(one, other, 10).low is not None


p_values = st.lists(st.none() | st.floats(0, 1), max_size=6)


@given(p_values)
def test_corrected_p_values_are_larger_in_the_same_order_and_at_most_one(given_values):
    found = holm(given_values)
    known = [(p, q) for p, q in zip(given_values, found, strict=True) if p is not None]
    assert [q is None for q in found] == [p is None for p in given_values]
    for p, q in known:
        assert p <= q <= 1
    ordered = [q for _, q in sorted(known)]
    assert ordered == sorted(ordered)


def test_p_values_are_corrected_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == [0.04]


def test_a_share_of_sites_has_an_exact_interval_from_ten_sites_on():
    assert share_interval(9, 9) == (None, None)
    low, high = share_interval(10, 10)
    assert (low, high) == pytest.approx((0.025 ** (1 / 10), 1.0))


@pytest.mark.parametrize(
    ("against", "low", "shown"),
    [
        ("pooled", -0.029, True),
        ("pooled", -0.03, False),
        ("pooled", 0.02, True),
        ("pooled", None, None),
        ("local", -0.01, None),
    ],
)
def test_non_inferior_is_a_lower_end_above_minus_the_margin(against, low, shown):
    assert non_inferior(against, "macro_auroc", low) is shown
    assert MARGINS == {"macro_auroc": 0.03, "macro_f1": 0.05}


@pytest.mark.parametrize(
    ("value", "low", "high", "significant"),
    [
        (0.02, 0.01, 0.05, True),
        (0.02, 0.0, 0.05, False),
        (0.02, -0.01, 0.05, False),
        (0.0, 0.01, 0.05, False),
        (-0.02, -0.05, -0.01, True),
        (-0.02, -0.05, 0.0, False),
        (-0.02, -0.05, 0.01, False),
        (0.0, -0.05, -0.01, False),
        (0.02, -0.05, -0.01, False),
        (None, 0.01, 0.05, False),
        (0.02, None, 0.05, False),
        (0.02, 0.01, None, False),
    ],
)
def test_a_difference_is_significant_if_all_of_it_is_on_one_side_of_zero(
    value, low, high, significant
):
    assert is_significant(Difference(value, low, high, 25)) is significant


def test_what_cannot_be_measured_anywhere_has_no_difference():
    none = BootstrapEstimate(None, np.full(3, np.nan))
    some = BootstrapEstimate(0.5, np.full(3, 0.5))
    for found in (difference(none, some, 20), difference(some, none, 20)):
        assert found == Difference(None, None, None, 20)


SENTENCES = [
    (
        ("site:site-3", Difference(-0.0762, -0.137, -0.015, 25)),
        "At site-3, FedAvg's macro-F1 is .076 lower than local training (95% CI .015 to .137 "
        "lower).",
    ),
    (
        ("central", Difference(0.05, 0.011, 0.09, 25)),
        "On the central test records, FedAvg's macro-F1 is .050 higher than local training (95% "
        "CI .011 to .090 higher).",
    ),
    (
        ("mean_site", Difference(0.05, 0.011, 0.09, 25)),
        "Averaged over the sites, FedAvg's macro-F1 is .050 higher than local training (95% CI "
        ".011 to .090 higher).",
    ),
    (
        ("unseen", Difference(0.02, -0.01, 0.05, 25)),
        "On the unseen records, there is no evidence of a difference between FedAvg and local "
        "training: macro-F1 +.020 (95% CI -.010 to +.050).",
    ),
    (
        ("site:site-1", Difference(0.02, None, None, 4)),
        "At site-1, too few test patients (4) for a confidence interval: FedAvg's macro-F1 is .020 "
        "higher than local training.",
    ),
    (
        ("mean_site", Difference(-0.01, 0.01, 0.05, 25)),  # an interval without its value
        "Averaged over the sites, there is no evidence of a difference between FedAvg and local "
        "training: macro-F1 -.010 (95% CI +.010 to +.050).",
    ),
    (
        ("mean_site", Difference(None, None, None, 4)),
        "Averaged over the sites, FedAvg and local training cannot be compared in macro-F1: no "
        "class has 5 patients with it and as many without it.",
    ),
]


@pytest.mark.parametrize(("given_gap", "words"), SENTENCES)
def test_the_words_follow_from_the_interval(given_gap, words):
    where, found = given_gap
    assert difference_sentence("fedavg", "local", where, "macro_f1", found) == words
    assert is_significant(found) is words.endswith(("lower).", "higher)."))


@pytest.mark.parametrize(("low", "verdict"), [(-0.04, "It is"), (-0.06, "It is not shown to be")])
def test_against_pooled_training_the_words_say_whether_it_is_not_inferior(low, verdict):
    found = Difference(0.01, low, 0.05, 25)
    words = difference_sentence("fedavg", "pooled", "central", "macro_f1", found)
    assert words.endswith(f" {verdict} non-inferior to pooled training at the margin of .050.")


def test_the_words_for_the_sites_above():
    one = sites_above_sentence("fedavg", "local", "macro_f1", [(6, 8)])
    assert one == "FedAvg's macro-F1 is higher than local training at 6 of 8 sites."
    more = sites_above_sentence("fedavg", "local", "macro_f1", [(6, 8), (7, 8)])
    assert more.endswith("at 6 of 8, 7 of 8 sites (by seed, 2 seeds).")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            [0.02, None, 0.08],
            "On the central test records, SCAFFOLD's macro-F1 is .050 higher than pooled training "
            "(mean of 2 seeds, .020 to .080 higher).",
        ),
        (
            [-0.02, -0.02],
            "On the central test records, SCAFFOLD's macro-F1 is .020 lower than pooled training "
            "(mean of 2 seeds, .020 to .020 lower).",
        ),
        (
            [-0.02, 0.04],
            "On the central test records, the seeds do not agree on a difference between SCAFFOLD "
            "and pooled training: macro-F1 +.010 (mean of 2 seeds, -.020 to +.040).",
        ),
        (
            [0.05],
            "On the central test records, SCAFFOLD's macro-F1 is .050 higher than pooled training "
            "(mean of 1 seed, .050 to .050 higher).",
        ),
        (
            [0.0, 0.04],
            "On the central test records, the seeds do not agree on a difference between SCAFFOLD "
            "and pooled training: macro-F1 +.020 (mean of 2 seeds, .000 to +.040).",
        ),
        (
            [-0.04, 0.0],
            "On the central test records, the seeds do not agree on a difference between SCAFFOLD "
            "and pooled training: macro-F1 -.020 (mean of 2 seeds, -.040 to .000).",
        ),
        (
            [None],
            "On the central test records, SCAFFOLD and pooled training cannot be compared in "
            "macro-F1.",
        ),
    ],
)
def test_over_seeds_the_words_follow_from_whether_they_agree(values, words):
    assert seeds_sentence("scaffold", "pooled", "central", "macro_f1", values) == words


@pytest.mark.parametrize(
    ("value", "text"), [(0.08, "+.080"), (-1.0, "-1.000"), (-0.0001, ".000"), (0.0, ".000")]
)
def test_a_signed_figure_has_three_decimals(value, text):
    assert signed(value) == text
