"""Predictions of several folds: a site's are one group, elsewhere the mean of models counts."""

import numpy as np
import pytest

from fl.data.cohort import Cohort
from fl.evaluation.group_evaluation import evaluate_predicted, evaluate_predictions
from fl.evaluation.predictions import Predictions
from fl.evaluation.strategy_comparison import MeasuredTrainings, differences

N = 24


def lines(strategy, site, right, fold="", patients=range(N)):
    """Half of the patients have AF; the model is right about the first `right` of each half."""
    shows = np.array([i % 2 for i in patients], dtype=bool)
    correct = np.array([i // 2 < right for i in patients])
    n = len(shows)
    return Predictions(
        classes=("AF",),
        strategy=np.full(n, strategy),
        source=np.full(n, "mitdb"),
        record=np.array([f"r{i}" for i in patients]),
        patient=np.array([f"{site}-{i}" for i in patients]),
        site=np.full(n, site),
        split=np.full(n, "test"),
        labels=shows.astype(np.int8)[:, None],
        probabilities=np.where(shows == correct, 0.9, 0.1)[:, None],
        decided=(shows == correct)[:, None],
        fold=np.full(n, fold),
    )


def measured(*parts):
    return MeasuredTrainings([Predictions.joined(parts, ("AF",))], seed=0)


def test_a_site_is_measured_over_its_folds_as_one():
    first, second = range(N // 2), range(N // 2, N)
    folds = measured(
        lines("fedavg", "site-1", 8, "1", first), lines("fedavg", "site-1", 8, "2", second)
    )
    whole = measured(lines("fedavg", "site-1", 8))
    one, other = (found.at("fedavg", "site-1")["macro_f1"] for found in (folds, whole))
    assert one.value == other.value == pytest.approx(8 / 12)
    assert one.draws.tolist() == other.draws.tolist()


def test_records_of_no_site_have_the_mean_of_the_folds_models_in_every_draw():
    parts = [lines("fedavg", "central", 12, "1"), lines("fedavg", "central", 6, "2")]
    both = measured(*parts).at("fedavg", "central")["macro_f1"]
    alone = [measured(part).at("fedavg", "central")["macro_f1"] for part in parts]
    assert both.value == pytest.approx((1.0 + 0.5) / 2)
    np.testing.assert_allclose(both.draws, (alone[0].draws + alone[1].draws) / 2)


def test_of_local_training_it_is_the_mean_over_folds_of_the_mean_over_sites():
    found = measured(
        lines("local-site-1", "central", 12, "1"),
        lines("local-site-2", "central", 6, "1"),
        lines("local-site-1", "central", 6, "2"),  # site-2 had nobody to train on in this fold
    )
    assert found.at("local", "central")["macro_f1"].value == pytest.approx((0.75 + 0.5) / 2)


def test_trainings_that_were_tested_on_other_patients_have_no_difference_there():
    found = measured(
        lines("fedavg", "site-1", 9, "1"),
        lines("local", "site-1", 9, "1", range(N - 2)),
        lines("fedavg", "site-2", 9, "1"),
        lines("local", "site-2", 6, "1"),
    )
    rows = differences(found, "fedavg", "local")
    at_sites = {row.where: row.n_patients for row in rows if row.site}
    assert at_sites == {"site:site-2": N}


def test_measures_from_the_file_are_those_of_the_records(cohort: Cohort, rng):
    p = rng.random(cohort.labels.shape).round(7)
    stored = Predictions.of_cohort(cohort, p, p > 0.5, strategy="x", site="s", split="test")
    direct = evaluate_predicted(cohort, p, p > 0.5, seed=1)
    found = evaluate_predictions(stored, seed=1)
    assert direct.subgroups
    assert found.subgroups is None
    assert found == direct.model_copy(update={"subgroups": None})
