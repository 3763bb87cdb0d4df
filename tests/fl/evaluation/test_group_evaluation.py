"""A group's measures agree with scikit-learn, and its parts by sex and age are its own patients."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss

from fl.evaluation.bootstrap import bootstrap_macro, draw_patients, interval
from fl.evaluation.group_evaluation import (
    AGE_BANDS,
    MIN_SUBGROUP_PATIENTS,
    by_age,
    by_sex,
    evaluate_group,
    mean_over_models,
)
from fl.util.random_streams import stream


@pytest.fixture(scope="module")
def judged(cohort):
    """The synthetic cohort, probabilities that know a little about it, and their measures."""
    noise = stream(0, "judged").normal(size=cohort.labels.shape)
    p = np.round(1 / (1 + np.exp(1 - 2 * (cohort.labels == 1) - noise)), 7)
    thresholds = {"pooled": dict.fromkeys(cohort.task.classes, 0.5)}
    return p, evaluate_group(cohort, p, thresholds, seed=0)


def test_each_class_has_its_average_precision_beside_its_prevalence(cohort, judged):
    p, found = judged
    for c, name in enumerate(cohort.task.classes):
        known = cohort.labels[:, c] >= 0
        truth = cohort.labels[known, c]
        entry = found.classes[name]
        assert entry.prevalence == pytest.approx(truth.mean())
        assert entry.auprc == pytest.approx(average_precision_score(truth, p[known, c]))
        assert entry.brier == pytest.approx(brier_score_loss(truth, p[known, c]))


def test_parts_by_sex_and_age_hold_the_patients_of_known_sex_and_age(cohort, judged):
    _, found = judged
    sexes, ages = cohort.column("sexes"), cohort.column("ages")
    parts = found.subgroups
    for kind, known in (("sex", sexes != ""), ("age", np.isfinite(ages))):
        measured = [part.n_records for part in parts[kind].values() if part is not None]
        assert 0 < sum(measured) <= known.sum()
    assert (ages[by_age(cohort)["65 to 79"]] >= 65).all()
    assert (sexes[by_sex(cohort)["female"]] == "F").all()


def test_a_part_of_few_patients_is_not_measured(cohort, judged):
    p, _ = judged
    few = np.arange(6)
    parts = evaluate_group(cohort.take(few), p[few], None, seed=0).subgroups
    assert len(set(cohort.patients[few])) < 2 * MIN_SUBGROUP_PATIENTS
    assert None in parts["sex"].values()


def test_age_bands_leave_no_age_out():
    bands = list(AGE_BANDS.values())
    assert bands[0][0] == 0
    assert [low for low, _ in bands[1:]] == [high for _, high in bands[:-1]]


def test_a_mean_over_models_has_their_mean_figures_their_counts_and_no_interval(cohort, judged):
    p, one = judged
    other = evaluate_group(cohort, 1 - p, {"pooled": dict.fromkeys(cohort.task.classes, 0.5)}, 0)
    mean = mean_over_models([one, other])
    f1s = [one.macro_f1.value, other.macro_f1.value]
    assert mean.macro_f1.value == pytest.approx(np.mean(f1s))
    assert (mean.macro_f1.low, mean.macro_f1.high) == (None, None)
    assert (mean.n_records, mean.macro_classes) == (one.n_records, one.macro_classes)
    for name, measures in mean.classes.items():
        assert measures.n == one.classes[name].n
        briers = [model.classes[name].brier for model in (one, other)]
        assert measures.brier == pytest.approx(np.mean(briers))
    assert mean_over_models([None, None]) is None
    assert mean_over_models([{}, {}]) == {}


def test_measures_without_parts_stay_without_them_in_a_mean(judged):
    _, found = judged
    plain = found.model_validate(found.to_json() | {"subgroups": None})
    left = type(found).from_json(
        {k: v for k, v in found.to_json().items() if k != "subgroups"}, "measures"
    )
    assert "subgroups" in mean_over_models([plain, plain]).to_json()
    assert "subgroups" not in mean_over_models([left, left]).to_json()


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "under 50"),
        (49, "under 50"),
        (50, "50 to 64"),
        (64, "50 to 64"),
        (65, "65 to 79"),
        (79, "65 to 79"),
        (80, "80 and over"),
        (105, "80 and over"),
        (np.nan, None),
    ],
)
def test_an_age_is_in_the_band_that_names_it(age, band):
    cohort = SimpleNamespace(column={"ages": np.array([age])}.get)
    assert [name for name, rows in by_age(cohort).items() if rows[0]] == [band] * (band is not None)


@pytest.mark.parametrize("n_patients", [4, 5])
def test_a_part_is_measured_from_five_patients_on(cohort, judged, n_patients):
    p, _ = judged
    women = np.flatnonzero(cohort.column("sexes") == "F")
    names = list(dict.fromkeys(cohort.patients[women].tolist()))[:n_patients]
    rows = women[np.isin(cohort.patients[women], names)]
    parts = evaluate_group(cohort.take(rows), p[rows], None, seed=0).subgroups
    assert (parts["sex"]["female"] is not None) is (n_patients >= 5)
    assert parts["sex"]["male"] is None


def test_a_groups_intervals_are_those_of_a_thousand_draws_of_its_patients(cohort, judged):
    p, found = judged
    draws = draw_patients(cohort.patients, 0)
    assert draws.weights.shape == (1000, found.n_patients)
    drawn = bootstrap_macro(cohort.labels, p, p >= 0.5, draws)
    for metric in ("macro_f1", "macro_auroc"):
        estimate = found.estimate(metric)
        assert (estimate.low, estimate.high) == interval(drawn[metric])
        assert estimate.low < estimate.value < estimate.high


def test_what_cannot_be_measured_has_no_interval_either(cohort, judged):
    p, _ = judged
    one = np.arange(1)
    found = evaluate_group(cohort.take(one), p[one], None, seed=0)
    for metric in ("macro_f1", "macro_auroc"):
        assert set(dict(found.estimate(metric)).values()) == {None}
