"""Figures, thresholds and the best round, from counts that sites send for each source."""

import numpy as np
import pytest
from support.rounds import run
from support.two_sources import two_source_job

from clients.simulated_sites import open_site
from fl.ecg.tasks import RHYTHM
from fl.evaluation.metrics import scores
from fl.evaluation.predictions import read_predictions
from fl.evaluation.score_histograms import count_scores, histogram_aurocs
from fl.evaluation.thresholds import MIN_POSITIVES, decide
from fl.messages.payloads import EvaluationReply, SourceValidation
from partitions.splits import TEST, VAL
from server.rounds.checkpoints import TrainingProgress
from server.rounds.model_selection import selection_score, sum_sources, validate_round

CLASSES = len(RHYTHM.classes)


def scored(positive, negative):
    """Histograms of examples with these scores, the same for every class."""
    p = np.repeat(np.array([*positive, *negative])[:, None], CLASSES, axis=1)
    labels = np.zeros_like(p, dtype=np.int8)
    labels[: len(positive)] = 1
    return count_scores(labels, p)


def right(n, patients):
    """A source on which every example is ranked rightly."""
    return SourceValidation(n_patients=patients, scores=scored([0.9] * n, [0.1] * n))


def wrong(n, patients):
    """A source on which every example is ranked wrongly."""
    return SourceValidation(n_patients=patients, scores=scored([0.1] * n, [0.9] * n))


def reply(site, **by_source):
    n = sum(
        int(v.scores.positive[0].sum() + v.scores.negative[0].sum()) for v in by_source.values()
    )
    return EvaluationReply(
        site=site, n_records=n, loss_sum=0.5 * n, by_source=by_source, report=None
    )


def progress():
    return TrainingProgress(weights={}, best_weights={}, round=1)


def test_sources_count_by_their_patients_and_not_by_their_records():
    # A Holter source of 3 patients with 200 windows beside 9 patients with one record each.
    by_source = {"clinic": right(n=9, patients=9), "holter": wrong(n=200, patients=3)}
    assert selection_score(by_source, range(CLASSES)) == pytest.approx(9 / 12)


def test_the_best_round_is_the_one_that_is_better_for_more_patients():
    rounds = [
        reply("a", clinic=right(n=9, patients=9), holter=wrong(n=200, patients=3)),
        reply("a", clinic=wrong(n=9, patients=9), holter=right(n=200, patients=3)),
    ]
    state = progress()
    for number, evaluated in enumerate(rounds, start=1):
        state.round = number
        validate_round(RHYTHM, "fedavg", state, [evaluated])
    assert state.best_round == 1
    assert state.best_score == pytest.approx(0.75)


def test_each_source_of_a_site_has_thresholds_of_its_own():
    n = MIN_POSITIVES + 1
    low = SourceValidation(n_patients=n, scores=scored([0.3] * n, [0.1] * n))
    high = SourceValidation(n_patients=n, scores=scored([0.9] * n, [0.6] * n))
    state = progress()
    row = validate_round(RHYTHM, "fedavg", state, [reply("a", low=low, high=high)])
    assert state.thresholds.keys() == {"pooled", "low", "high"}
    name = RHYTHM.classes[0]
    assert 0.1 < state.thresholds["low"][name] <= 0.3
    assert 0.6 < state.thresholds["high"][name] <= 0.9
    # Every example is decided rightly by its own source's thresholds, and by no common one.
    assert row["val_macro_f1"] == 1
    (site_row,) = state.site_rows
    assert site_row.macro_f1 == 1
    both = low.scores + high.scores
    assert site_row.macro_auroc == pytest.approx(np.mean(histogram_aurocs(both)))


def test_validation_of_one_source_is_added_over_the_sites():
    replies = [reply("a", x=right(3, 2)), reply("b", x=right(3, 3), y=wrong(1, 1))]
    total = sum_sources(replies, CLASSES)
    assert {source: v.n_patients for source, v in total.items()} == {"x": 5, "y": 1}
    assert total["x"].scores.positive.sum(axis=1).tolist() == [6] * CLASSES
    assert selection_score(total, range(CLASSES)) == pytest.approx(5 / 6)


def test_records_of_a_two_source_site_are_decided_by_thresholds_of_their_own_source(
    shards, tmp_path
):
    job = two_source_job(shards, tmp_path / "run")
    watching, summary = run(job)
    assert watching.failed == []
    site = open_site(job, 0)
    sources = sorted(set(site.splits[VAL].sources.tolist()))
    thresholds = summary.thresholds
    assert sorted(thresholds) == sorted(["pooled", *sources])
    assert len({tuple(thresholds[name].values()) for name in thresholds}) == 3
    cohort = site.splits[TEST]
    p = read_predictions(site.folder / "predictions-fedavg.csv", RHYTHM.classes).probabilities
    by_own_source = np.zeros(p.shape, dtype=bool)
    for source in sources:
        rows = cohort.sources == source
        by_own_source[rows] = p[rows] >= list(thresholds[source].values())
    decided = decide(p, cohort.sources, thresholds, RHYTHM.classes)
    np.testing.assert_array_equal(decided, by_own_source)
    expected = scores(cohort.labels, p, by_own_source, RHYTHM.classes, cohort.patients)
    assert summary.sites["site-1"].macro_f1.value == expected.macro_f1
    assert summary.sites["site-1"].accuracy == expected.accuracy
