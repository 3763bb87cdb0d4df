"""A group's measures agree with scikit-learn, and its parts by sex and age are its own patients."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss
from support.rules import even_rule

from fl.ecg.tasks import RHYTHM, TASKS
from fl.evaluation.bootstrap import bootstrap_estimates, interval
from fl.evaluation.group_evaluation import (
    AGE_BANDS,
    MIN_SUBGROUP_PATIENTS,
    by_age,
    by_sex,
    evaluate_group,
    evaluate_sources,
    mean_over_models,
)
from fl.evaluation.metrics import MEASURES, scores
from fl.util.random_streams import stream

EVEN = even_rule(RHYTHM.classes)


@pytest.fixture(scope="module")
def judged(cohort):
    """The synthetic cohort, probabilities that know a little about it, and their measures."""
    noise = stream(0, "judged").normal(size=cohort.labels.shape)
    p = np.round(1 / (1 + np.exp(1 - 2 * (cohort.labels == 1) - noise)), 7)
    return p, evaluate_group(cohort, p, even_rule(cohort.task.classes), seed=0)


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
    parts = evaluate_group(cohort.take(few), p[few], EVEN, seed=0).subgroups
    assert len(set(cohort.patients[few])) < 2 * MIN_SUBGROUP_PATIENTS
    assert None in parts["sex"].values()


def test_age_bands_leave_no_age_out():
    bands = list(AGE_BANDS.values())
    assert bands[0][0] == 0
    assert [low for low, _ in bands[1:]] == [high for _, high in bands[:-1]]


def test_a_mean_over_models_has_their_mean_figures_their_counts_and_no_interval(cohort, judged):
    p, one = judged
    other = evaluate_group(cohort, 1 - p, even_rule(cohort.task.classes), 0)
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
    parts = evaluate_group(cohort.take(rows), p[rows], EVEN, seed=0).subgroups
    assert (parts["sex"]["female"] is not None) is (n_patients >= 5)
    assert parts["sex"]["male"] is None


def test_a_groups_intervals_are_those_of_a_thousand_draws_of_its_patients(cohort, judged):
    p, found = judged
    measured = scores(cohort.labels, p, p >= 0.5, cohort.task.classes, cohort.patients)
    drawn = bootstrap_estimates(measured, cohort.labels, p, p >= 0.5, cohort.patients, 0)
    for metric in ("macro_f1", "macro_auroc"):
        estimate = found.estimate(metric)
        assert drawn[metric].draws.shape == (1000,)
        assert (estimate.low, estimate.high) == interval(drawn[metric], found.n_patients)
        assert estimate.low < estimate.value < estimate.high


def test_what_cannot_be_measured_has_no_interval_either(cohort, judged):
    p, _ = judged
    one = np.arange(1)
    found = evaluate_group(cohort.take(one), p[one], EVEN, seed=0)
    for metric in ("macro_f1", "macro_auroc"):
        assert set(dict(found.estimate(metric)).values()) == {None}


@pytest.fixture(scope="module")
def of_sources(cohort, judged):
    """The same examples as a mean over their sources, and each source."""
    p, _ = judged
    return evaluate_sources(cohort, p, p >= 0.5, seed=0)


def test_over_sources_each_figure_is_their_mean_weighted_by_patients(cohort, of_sources):
    whole, by_source = of_sources
    assert sorted(by_source) == sorted(set(cohort.sources.tolist()))
    assert len(by_source) > 1
    weights = [part.n_patients for part in by_source.values()]
    for metric in ("macro_f1", "macro_auroc"):
        values = [part.estimate(metric).value for part in by_source.values()]
        estimate = whole.estimate(metric)
        assert estimate.value == pytest.approx(np.average(values, weights=weights))
        assert estimate.low < estimate.value < estimate.high
    briers = [part.macro_brier for part in by_source.values()]
    assert whole.macro_brier == pytest.approx(np.average(briers, weights=weights))
    assert whole.n_patients == sum(weights)
    assert whole.n_records == len(cohort)


def test_over_sources_a_class_is_measured_where_it_can_be_and_its_counts_are_sums(of_sources):
    whole, by_source = of_sources
    for name, entry in whole.classes.items():
        parts = [source.classes[name] for source in by_source.values()]
        weights = [source.n_patients for source in by_source.values()]
        assert entry.n == sum(part.n for part in parts)
        assert entry.patients == sum(part.patients for part in parts)
        assert entry.positive_patients == sum(part.positive_patients for part in parts)
        for measure in MEASURES:
            values = [getattr(part, measure) for part in parts]
            known = [i for i, value in enumerate(values) if value is not None]
            expected = (
                np.average([values[i] for i in known], weights=[weights[i] for i in known])
                if known
                else None
            )
            assert getattr(entry, measure) == pytest.approx(expected)
    every = {name for source in by_source.values() for name in source.macro_classes}
    assert set(whole.macro_classes) == every


def test_many_windows_of_one_source_do_not_weigh_more_than_its_patients(cohort, judged):
    """The same examples twice: as if a source had twice as many windows of each patient."""
    p, _ = judged
    name = cohort.sources[0]
    more = np.concatenate([np.arange(len(cohort)), np.flatnonzero(cohort.sources == name)])
    once, _ = evaluate_sources(cohort, p, p >= 0.5, seed=0)
    twice, _ = evaluate_sources(cohort.take(more), p[more], p[more] >= 0.5, seed=0)
    assert twice.macro_auroc.value == pytest.approx(once.macro_auroc.value)
    assert twice.macro_f1.value == pytest.approx(once.macro_f1.value)
    assert twice.n_patients == once.n_patients


def test_the_mean_over_one_source_is_that_source(cohort, judged):
    p, _ = judged
    rows = np.flatnonzero(cohort.sources == cohort.sources[0])
    whole, by_source = evaluate_sources(cohort.take(rows), p[rows], p[rows] >= 0.5, seed=0)
    assert [whole] == list(by_source.values())


def test_parts_over_sources_count_every_patient(cohort, of_sources, judged):
    whole, _ = of_sources
    _, together = judged
    for kind, parts in whole.subgroups.items():
        for name, part in parts.items():
            other = together.subgroups[kind][name]
            assert (part is None) is (other is None)
            if part:
                assert (part.n_patients, part.n_records) == (other.n_patients, other.n_records)


def test_beats_that_cannot_be_learnt_are_measured_and_not_averaged():
    """F is shown by enough patients here, but the task does not train it."""
    labels = np.eye(5, dtype=np.int8)[np.tile(np.arange(5), 12)]
    cohort = SimpleNamespace(
        task=TASKS["beat"],
        labels=labels,
        patients=np.repeat(np.arange(12), 5).astype(str),
        sources=np.full(60, "mitdb"),
        column={"ages": np.full(60, np.nan), "sexes": np.full(60, "")}.get,
    )
    rule = even_rule(("S", "V"), otherwise="N")
    found = evaluate_group(cohort, np.where(labels == 1, 0.9, 0.1), rule, seed=0)
    assert found.macro_classes == ("N", "S", "V")
    assert (found.classes["F"].auprc, found.classes["F"].f1) == (1.0, 0.0), "never answered"
    # Every F and Q beat is answered N.
    assert found.macro_f1.value == pytest.approx((2 * 12 / (36 + 12) + 1 + 1) / 3)
    assert found.classes["F"].positive_patients == 12
