"""One class is answered for each beat: the one furthest above its operating point, or N."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.ecg.tasks import BEAT, RHYTHM
from fl.evaluation.decisions.decision_rule import DecisionRule, answer, choose_rule, own_rule
from fl.evaluation.decisions.platt_scaling import IDENTITY, log_odds, sigmoid
from fl.evaluation.decisions.score_histograms import count_scores
from fl.evaluation.decisions.thresholds import MIN_POSITIVES, SHRINKAGE
from fl.util.random_streams import stream

CLASSES = BEAT.classes
N, S, V, F, Q = range(5)


def rule(s=0.5, v=0.5, **by_source):
    """A rule with these operating points of S and V, for `pooled` and for other sources."""
    points = {"pooled": (s, v)} | by_source
    return DecisionRule(
        thresholds={name: {"S": at[0], "V": at[1]} for name, at in points.items()},
        calibration={name: dict.fromkeys(BEAT.trainable, IDENTITY) for name in points},
        alone="",
        otherwise="N",
    )


def answered(rule, *p, source="clinic"):
    """The class of each beat, whose probabilities of N, S, V, F, Q are given."""
    _, found = answer(rule, np.array(p), [source] * len(p), CLASSES)
    assert (found.sum(axis=1) == 1).all()
    return "".join(CLASSES[c] for c in found.argmax(axis=1))


def test_a_beat_that_reaches_no_operating_point_is_n():
    assert answered(rule(), (0.4, 0.3, 0.3, 0, 0)) == "N"


def test_a_beat_at_the_operating_point_is_answered_and_one_below_is_not():
    at, below = (0.8, 0.2, 0, 0, 0), (0.8, 0.1999999, 0, 0, 0)
    assert answered(rule(s=0.2), at, below) == "SN"


def test_of_two_classes_above_their_points_the_one_further_above_is_answered():
    # S is .3 at .1 (odds 3.9 times those of its point), V .6 at .5 (1.5 times).
    assert answered(rule(s=0.1, v=0.5), (0.1, 0.3, 0.6, 0, 0)) == "S"
    assert answered(rule(s=0.25, v=0.5), (0.1, 0.3, 0.6, 0, 0)) == "V"


def test_the_probability_of_n_decides_nothing():
    assert answered(rule(s=0.1), (0.9, 0.1, 0, 0, 0), (0, 0.05, 0, 0.5, 0.45)) == "SN"


def test_a_class_that_is_not_trained_is_never_answered_and_keeps_its_probability():
    p = np.array([[0.0, 0.0, 0.0, 0.9, 0.1], [0.2, 0.1, 0.1, 0.0, 0.6]])
    made = choose_rule({"a": beats(seed=1)}, BEAT)
    calibrated, found = answer(made, p, ["a", "new"], CLASSES)
    assert not found[:, [F, Q]].any()
    assert calibrated[:, [F, Q]].tolist() == p[:, [F, Q]].tolist()
    for entries in (made.thresholds, made.calibration):
        assert not {"F", "Q"} & {name for of in entries.values() for name in of}
    assert made.raw_thresholds("a", CLASSES)[F] is None


def test_a_class_that_becomes_trainable_is_calibrated_and_answered():
    task = replace(BEAT, trainable=("N", "S", "V", "F"))
    made = choose_rule({"a": beats(shown=(N, S, V, F))}, task)
    assert made.thresholds["a"].keys() == {"S", "V", "F"}
    assert answered(made, (0.05, 0.02, 0.03, 0.9, 0), source="a") == "F"


@given(
    st.lists(st.tuples(*[st.floats(0, 1)] * 5), min_size=1, max_size=20),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
)
def test_every_beat_has_exactly_one_class(p, s, v):
    calibrated, found = answer(rule(s, v), np.array(p), ["x"] * len(p), CLASSES)
    assert found.sum(axis=1).tolist() == [1] * len(p)
    assert not found[:, [F, Q]].any()
    reached = (calibrated[:, S] >= s) | (calibrated[:, V] >= v)
    assert (~found[:, N]).tolist() == reached.tolist()


def beats(seed=0, patients=12, shown=(N, S, V), prefix="", low_s=False):
    """Histograms of 60 beats of each patient, whose scores know which class it is."""
    return count_scores(*some_beats(seed, patients, shown, prefix, low_s))


def some_beats(seed=0, patients=12, shown=(N, S, V), prefix="", low_s=False):
    """(labels, p, patients) of such beats; if `low_s`, V is more probable on every S beat."""
    rng = stream(seed, "beats")
    share = np.array([{N: 0.8}.get(c, 0.2 / (len(shown) - 1)) for c in shown])
    truth = rng.choice(shown, size=60 * patients, p=share / share.sum())
    logits = rng.normal(scale=0.7, size=(len(truth), 5)) + 3 * np.eye(5)[truth] - [0, 2, 2, 4, 4]
    if low_s:
        is_s = truth == S
        logits[is_s, S] = rng.normal(1.0, 0.2, is_s.sum())
        logits[is_s, V] = rng.normal(2.0, 0.2, is_s.sum())
        logits[is_s, N] = rng.normal(1.0, 0.2, is_s.sum())
        logits[truth == V, V] = rng.normal(6.0, 0.2, (truth == V).sum())
        logits[truth == V, S] = rng.normal(-2.0, 0.2, (truth == V).sum())
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    who = np.array([f"{prefix}{i % patients}" for i in range(len(truth))])
    return np.eye(5, dtype=np.int8)[truth], np.round(p, 7), who


def test_s_that_ranks_well_but_is_never_the_most_probable_is_found_at_its_operating_point():
    labels, p, who = some_beats(patients=300, low_s=True)
    assert not (p[labels[:, S] == 1].argmax(axis=1) == S).any()
    made = choose_rule({"a": count_scores(labels, p, who)}, BEAT)
    fresh_labels, fresh, _ = some_beats(seed=7, patients=100, low_s=True)
    _, found = answer(made, fresh, ["a"] * len(fresh), CLASSES)
    sensitivity = {c: found[fresh_labels[:, c] == 1, c].mean() for c in (N, S, V)}
    assert sensitivity[S] > 0.9
    assert min(sensitivity.values()) > 0.9


@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), st.permutations(range(4)))
def test_the_operating_point_is_a_sum_over_sites_however_the_patients_are_dealt(dealt, order):
    labels, p, who = some_beats()
    site_of = np.array(dealt)[who.astype(int)]
    at_site = [
        count_scores(labels[rows], p[rows], who[rows])
        for site in order
        if (rows := site_of == site).any()
    ]
    total = sum(at_site[1:], start=at_site[0])
    assert choose_rule({"a": total}, BEAT) == choose_rule({"a": beats()}, BEAT)


def test_a_source_without_s_takes_the_point_of_all_sources():
    made = choose_rule({"holter": beats(), "ward": beats(seed=3, shown=(N, V), prefix="w")}, BEAT)
    assert made.thresholds["ward"]["S"] == made.thresholds["pooled"]["S"]
    assert made.thresholds["ward"]["V"] != made.thresholds["pooled"]["V"]


def with_s_in(n, patients=40):
    """A source of these patients, of whom n show S."""
    labels, p, who = some_beats(seed=5, patients=patients, prefix="")
    kept = (labels[:, S] == 0) | (who.astype(int) < n)
    return count_scores(labels[kept], p[kept], np.char.add("here-", who[kept]))


@pytest.mark.parametrize(("n", "own"), [(MIN_POSITIVES - 1, False), (MIN_POSITIVES, True)])
def test_a_source_has_a_point_of_its_own_from_five_patients_with_s_on(n, own):
    made = choose_rule({"large": beats(patients=200), "here": with_s_in(n)}, BEAT)
    assert (made.thresholds["here"]["S"] != made.thresholds["pooled"]["S"]) is own


def test_the_fewer_patients_show_s_the_nearer_a_site_stays_to_the_point_it_was_sent():
    sent = rule(s=0.9, v=0.9)
    for n in (5, 10, 40):
        found = own_rule(sent, {"clinic": with_s_in(n)}, BEAT)
        alone = own_rule(rule(s=0.5, v=0.9), {"clinic": with_s_in(n)}, BEAT)
        moved = log_odds(
            np.array([found.thresholds["clinic"]["S"], alone.thresholds["clinic"]["S"]])
        )
        share = SHRINKAGE / (n + SHRINKAGE)
        assert moved[0] - moved[1] == pytest.approx(share * np.log(9), abs=1e-3)
        assert (found.otherwise, found.thresholds["pooled"]) == ("N", sent.thresholds["pooled"])


def test_a_site_without_s_keeps_the_point_that_it_was_sent():
    found = own_rule(rule(s=0.37), {"clinic": beats(shown=(N, V))}, BEAT)
    assert found.thresholds["clinic"]["S"] == 0.37


def test_a_source_that_nobody_trained_on_has_as_many_findings_as_the_others():
    assert BEAT.new_source_odds == 1
    made = choose_rule({"a": beats(patients=50)}, BEAT)
    assert made.thresholds["pooled"] == pytest.approx(made.thresholds["a"], abs=0.05)
    assert answered(made, (0.02, 0.9, 0.05, 0, 0), source="never seen") == "S"


def test_calibrated_beats_mean_what_they_say():
    labels, p, who = some_beats(patients=400)
    made = choose_rule({"a": count_scores(labels, p, who)}, BEAT)
    fresh_labels, fresh, _ = some_beats(seed=9, patients=200)
    calibrated, _ = answer(made, fresh, ["a"] * len(fresh), CLASSES)
    for c in (N, S, V):
        assert calibrated[:, c].mean() == pytest.approx(fresh_labels[:, c].mean(), abs=0.01)


def test_a_rule_of_beats_survives_its_file():
    made = choose_rule({"a": beats()}, BEAT)
    assert DecisionRule.from_json(made.to_json(), "the rule") == made
    back = made.raw_thresholds("a", CLASSES)[S]
    calibrated = sigmoid(made.calibration["a"]["S"].apply(log_odds(np.array(back))))
    assert float(calibrated) == pytest.approx(made.thresholds["a"]["S"])


def test_without_a_validation_patient_the_points_are_one_half():
    made = choose_rule({}, BEAT)
    assert made.thresholds == {"pooled": {"S": 0.5, "V": 0.5}}
    assert set(made.calibration["pooled"].values()) == {IDENTITY}


def test_only_beats_have_a_class_for_what_reaches_no_point():
    assert (BEAT.otherwise, BEAT.exclusive, BEAT.decided) == ("N", True, ("S", "V"))
    assert (RHYTHM.otherwise, RHYTHM.exclusive, RHYTHM.decided) == ("", False, RHYTHM.classes)
