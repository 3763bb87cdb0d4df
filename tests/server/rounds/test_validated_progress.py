"""What the validation of a round does to a training's progress, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from support.prepared_sites import CLASSES, ranked

from fl.ecg.tasks import BEAT, RHYTHM
from fl.evaluation.decisions.score_histograms import count_scores, empty_histograms
from fl.messages.payloads import EvaluationReply, SourceValidation
from fl.runs.round_selection import selection_score, sum_sources
from server.rounds.checkpoints import TrainingProgress
from server.rounds.model_selection import mean_loss, validate_round


def reply(site, n=20, loss=10.0, **by_source):
    return EvaluationReply(
        site=site, n_records=n, n_patients=n, loss_sum=loss, by_source=by_source, report=None
    )


def source(auroc, n_patients=40):
    """Validation of a source with this AUROC; none can be measured where it is None."""
    scores = empty_histograms(CLASSES) if auroc is None else ranked(auroc)
    return SourceValidation(n_patients=n_patients, scores=scores)


def after(*aurocs):
    """A training whose rounds were validated with these AUROCs."""
    progress = TrainingProgress(weights={}, best_weights={})
    for number, auroc in enumerate(aurocs, start=1):
        progress.round, progress.weights = number, {"w": np.full(1, number)}
        validate_round(RHYTHM, "fedavg", progress, [reply("a", x=source(auroc))])
    return progress


@pytest.mark.parametrize(
    ("aurocs", "best", "score"),
    [
        ((0.6,), 1, 0.6),
        ((0.6, 0.7), 2, 0.7),
        ((0.7, 0.6), 1, 0.7),
        ((0.7, 0.7), 2, 0.7),  # of equally good rounds the last
        ((0.7, None, 0.8), 3, 0.8),
        ((0.7, None), 1, 0.7),
        ((None, 0.0), 2, 0.0),  # ranking that is measured is stronger than the loss
        ((None, None), 2, -0.5),
        ((0.2, 0.1, 0.3, 0.2), 3, 0.3),
    ],
)
def test_the_best_round_is_the_last_with_the_highest_score(aurocs, best, score):
    progress = after(*aurocs)
    assert (progress.best_round, progress.best_score) == (best, pytest.approx(score))
    assert progress.best_weights["w"] == best


def score(by_source, task=RHYTHM):
    return selection_score(task, by_source, np.zeros((CLASSES, 4)), 0.25).score


def test_figures_do_not_depend_on_which_site_holds_a_source():
    x, y = source(0.8, 20), source(0.3, 20)
    at_one, at_two = (TrainingProgress(weights={}, best_weights={}, round=1) for _ in range(2))
    one = validate_round(RHYTHM, "fedavg", at_one, [reply("a", n=40, loss=20.0, x=x, y=y)])
    two = validate_round(RHYTHM, "fedavg", at_two, [reply("a", x=x), reply("b", y=y)])
    assert one == two
    assert one["val_loss"] == 0.5
    assert at_one.rule == at_two.rule
    assert [row.site for row in at_two.site_rows] == ["a", "b"]
    a, b = at_two.site_rows
    assert (a.macro_auroc, b.macro_auroc) == (pytest.approx(0.8), pytest.approx(0.3))
    assert (a.n_records, a.loss, a.split, a.round, a.strategy) == (20, 0.5, "val", 1, "fedavg")


def test_a_source_counts_by_its_patients_and_not_at_all_where_nothing_can_be_measured():
    by_source = {"x": source(0.9, 20), "y": source(0.5, 60), "z": source(None, 96)}
    assert score(by_source) == pytest.approx((0.9 + 3 * 0.5) / 4)
    assert score({"z": by_source["z"]}) == -0.25, "the loss"


def test_only_classes_that_can_be_learnt_choose():
    good, bad = ranked(0.9), ranked(0.2)
    mixed = replace(bad, positive=bad.positive.copy(), negative=bad.negative.copy())
    mixed.positive[0], mixed.negative[0] = good.positive[0], good.negative[0]
    by_source = {"x": SourceValidation(n_patients=40, scores=mixed)}
    first, second = RHYTHM.classes[:2]
    assert score(by_source, replace(RHYTHM, trainable=(first,))) == pytest.approx(0.9)
    assert score(by_source, replace(RHYTHM, trainable=(first, second))) == pytest.approx(0.55)


def test_patients_and_scores_of_a_source_are_added_over_the_sites():
    replies = [
        reply("a", x=source(0.9, 2)),
        reply("b", x=source(0.9, 0)),
        reply("c", y=source(0.1)),
    ]
    total = sum_sources(replies, CLASSES)
    assert {name: v.n_patients for name, v in total.items()} == {"x": 2, "y": 40}
    twice = ranked(0.9) + ranked(0.9)
    for name, counts in vars(total["x"].scores).items():
        np.testing.assert_array_equal(counts, getattr(twice, name))


def of_beats(s, v, others=0.1, patients=20):
    """Validation of beats of each class in turn, S with the score `s` and V with `v`.

    The other classes' scores are `others`. F and Q are ranked wrongly: nobody trains on them.
    """
    labels = np.tile(np.eye(len(BEAT.classes), dtype=np.int8), (patients, 1))
    own = np.array([0.9, s, v, 0.0, 0.0])
    p = np.where(labels == 1, own, others)
    who = np.arange(len(labels)).astype(str)
    return SourceValidation(n_patients=len(who), scores=count_scores(labels, p, who))


def test_beats_are_chosen_by_the_macro_f1_of_s_and_v_at_their_thresholds():
    progress = TrainingProgress(weights={}, best_weights={}, round=1)
    row = validate_round(BEAT, "fedavg", progress, [reply("a", x=of_beats(0.2, 0.4))])
    assert progress.chosen_rule.otherwise == "N"
    assert progress.chosen_rule.thresholds["x"].keys() == {"S", "V"}
    assert (progress.best_by, progress.best_score) == ("macro_f1", 1)
    assert (row["val_macro_f1"], row["val_macro_auroc"]) == (1, 1)
    (at_site,) = progress.site_rows
    assert (at_site.macro_f1, at_site.macro_auroc) == (1, 1)


def test_of_rounds_of_beats_the_last_of_the_best_is_taken():
    progress = TrainingProgress(weights={}, best_weights={})
    # V is ranked rightly in every round; S in the second and the third, although never above .5.
    for number, s in enumerate((0.1, 0.3, 0.2, 0.1), start=1):
        progress.round = number
        validate_round(BEAT, "fedavg", progress, [reply("a", x=of_beats(s, 0.9))])
    assert progress.best_round == 3


def test_before_a_round_is_validated_there_is_no_rule():
    with pytest.raises(ValueError, match="no round has been validated"):
        _ = TrainingProgress(weights={}, best_weights={}).chosen_rule


@pytest.mark.parametrize(
    ("parts", "mean"),
    [
        ([], None),
        ([(1.0, 0)], None),
        ([(3.0, 2)], 1.5),
        ([(3.0, 2), (1.0, 6)], 0.5),
        ([(3.0, 2), (0.0, 0)], 1.5),
    ],
)
def test_a_mean_loss_is_over_records(parts, mean):
    assert mean_loss(parts) == mean
