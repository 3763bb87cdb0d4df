"""Figures, thresholds and the best round, from counts that sites send for each source."""

import numpy as np
import pytest
from support.rounds import run
from support.two_sources import two_source_job

from clients.simulated_sites import open_site
from fl.ecg.tasks import BEAT, RHYTHM
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.decisions.score_histograms import (
    count_scores,
    empty_histograms,
    histogram_aurocs,
)
from fl.evaluation.decisions.thresholds import MIN_POSITIVES
from fl.evaluation.metrics import scores
from fl.evaluation.predictions import read_predictions
from fl.messages.payloads import EvaluationReply, SourceValidation
from fl.runs.round_selection import selection_score, sum_sources
from partitions.splits import TEST, VAL
from server.rounds.checkpoints import TrainingProgress
from server.rounds.model_selection import validate_round

CLASSES = len(RHYTHM.classes)


def scored(positive, negative):
    """Histograms of examples with these scores, the same for every class."""
    p = np.repeat(np.array([*positive, *negative])[:, None], CLASSES, axis=1)
    labels = np.zeros_like(p, dtype=np.int8)
    labels[: len(positive)] = 1
    return count_scores(labels, p, np.arange(len(p)).astype(str))


def right(n):
    """A source of 2n patients on which every one is ranked rightly."""
    return SourceValidation(n_patients=2 * n, scores=scored([0.9] * n, [0.1] * n))


def wrong(n):
    """A source of 2n patients on which every one is ranked wrongly."""
    return SourceValidation(n_patients=2 * n, scores=scored([0.1] * n, [0.9] * n))


def reply(site, loss=0.5, **by_source):
    n = sum(v.n_patients for v in by_source.values())
    return EvaluationReply(
        site=site, n_records=n, n_patients=n, loss_sum=loss * n, by_source=by_source, report=None
    )


def score(by_source, task=RHYTHM, confusion=None, loss=0.5):
    found = selection_score(task, by_source, confusion, loss)
    return found.by, found.score


def progress():
    return TrainingProgress(weights={}, best_weights={}, round=1)


def test_sources_count_by_their_patients():
    by_source = {"clinic": right(15), "holter": wrong(5)}
    assert score(by_source) == ("macro_auroc", pytest.approx(30 / 40))


def test_windows_of_few_patients_choose_no_round():
    # A Holter source of 3 patients with 200 windows each way, which no class of which is measured.
    windows = count_scores(
        np.repeat(np.array([1] * 200 + [0] * 200, np.int8)[:, None], CLASSES, axis=1),
        np.repeat(np.array([0.1] * 200 + [0.9] * 200)[:, None], CLASSES, axis=1),
        np.array([f"p{i % 3}" for i in range(400)]),
    )
    holter = SourceValidation(n_patients=3, scores=windows)
    assert score({"clinic": right(15), "holter": holter}) == ("macro_auroc", 1.0)


@pytest.mark.parametrize("by_source", [{}, {"clinic": right(14)}, {"clinic": right(4)}])
def test_few_validation_patients_choose_by_the_loss(by_source):
    assert score(by_source, loss=0.3) == ("loss", -0.3)


def test_beats_choose_by_the_macro_f1_of_the_classes_that_have_thresholds():
    # N, S, V, F, Q: true positives, predicted, positives, negatives; N, F and Q have no threshold.
    confusion = np.array([[0] * 4, [2, 4, 4, 9], [3, 3, 3, 9], [0] * 4, [0] * 4])
    assert score({}, BEAT, confusion) == ("macro_f1", pytest.approx(np.mean([0.5, 1.0])))


def test_beats_without_s_and_v_in_validation_choose_by_the_loss():
    only_n = np.array([[0] * 4, [0, 1, 0, 9], [0, 0, 0, 9], [0] * 4, [0] * 4])
    assert score({}, BEAT, only_n, loss=0.3) == ("loss", -0.3)
    # Many patients and a good ranking change nothing.
    assert score({"holter": right(40)}, BEAT, only_n, loss=0.3) == ("loss", -0.3)


def test_the_best_round_is_the_one_that_is_better_for_more_patients():
    rounds = [
        reply("a", clinic=right(15), holter=wrong(5)),
        reply("a", clinic=wrong(15), holter=right(5)),
    ]
    state = progress()
    for number, evaluated in enumerate(rounds, start=1):
        state.round = number
        validate_round(RHYTHM, "fedavg", state, [evaluated])
    assert state.best_round == 1
    assert state.best_score == pytest.approx(0.75)


def test_where_every_class_is_withheld_there_is_no_loss_and_the_last_round_is_kept():
    nothing = SourceValidation(n_patients=9, scores=empty_histograms(CLASSES))
    state = progress()
    for number in (1, 2, 3):
        state.round = number
        row = validate_round(RHYTHM, "fedavg", state, [reply("a", loss=0.0, clinic=nothing)])
        assert (row["val_loss"], row["val_macro_f1"], row["val_macro_auroc"]) == (None, None, None)
        assert state.best_round == number
    assert {line.loss for line in state.site_rows} == {None}
    # A site that counts a class is the only one in the mean, and its round is better than none.
    state.round = 4
    replies = [reply("a", loss=0.0, clinic=nothing), reply("b", loss=0.3, clinic=right(20))]
    assert validate_round(RHYTHM, "fedavg", state, replies)["val_loss"] == pytest.approx(0.3)
    assert state.best_round == 4


def test_each_source_of_a_site_has_thresholds_of_its_own():
    n = 40 * MIN_POSITIVES
    low = SourceValidation(n_patients=2 * n, scores=scored([0.3] * n, [0.1] * n))
    high = SourceValidation(n_patients=2 * n, scores=scored([0.9] * n, [0.6] * n))
    state = progress()
    row = validate_round(RHYTHM, "fedavg", state, [reply("a", low=low, high=high)])
    assert state.rule.thresholds.keys() == {"pooled", "low", "high"}
    classes = RHYTHM.classes
    assert 0.1 < state.rule.raw_thresholds("low", classes)[0] <= 0.3
    assert 0.6 < state.rule.raw_thresholds("high", classes)[0] <= 0.9
    # Every example is decided rightly by its own source's rule, and by no common one.
    assert row["val_macro_f1"] == 1
    (site_row,) = state.site_rows
    assert site_row.macro_f1 == 1
    both = low.scores + high.scores
    assert site_row.macro_auroc == pytest.approx(np.mean(histogram_aurocs(both)))


def test_validation_of_one_source_is_added_over_the_sites():
    replies = [reply("a", x=right(20)), reply("b", x=right(30), y=wrong(10))]
    total = sum_sources(replies, CLASSES)
    assert {source: v.n_patients for source, v in total.items()} == {"x": 100, "y": 20}
    assert total["x"].scores.patients[:, 0].tolist() == [50] * CLASSES
    assert score(total) == ("macro_auroc", pytest.approx(100 / 120))


def test_records_of_a_two_source_site_are_decided_by_thresholds_of_their_own_source(
    shards, tmp_path
):
    job = two_source_job(shards, tmp_path / "run")
    watching, summary = run(job)
    assert watching.failed == []
    site = open_site(job, 0)
    sources = sorted(set(site.splits[VAL].sources.tolist()))
    assert sorted(summary.thresholds) == sorted(summary.calibration) == ["pooled", *sources]
    rule = DecisionRule(
        thresholds=summary.thresholds,
        calibration=summary.calibration,
        alone=RHYTHM.alone,
        otherwise="",
    )
    cohort = site.splits[TEST]
    lines = read_predictions(site.folder / "predictions-fedavg.csv", RHYTHM.classes)
    p = lines.probabilities
    for source in sources:
        rows = np.flatnonzero(cohort.sources == source)
        own = rule.decide(p[rows], [source] * len(rows), RHYTHM.classes)
        np.testing.assert_array_equal(lines.decided[rows], own)
    expected = scores(cohort.labels, p, lines.decided, RHYTHM.classes, cohort.patients)
    assert summary.sites["site-1"].macro_f1.value == expected.macro_f1
    assert summary.sites["site-1"].accuracy == expected.accuracy
