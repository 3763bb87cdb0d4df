"""Trainings on the same few records, whose differences can be worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from fl.evaluation.paired_bootstrap import holm, is_significant
from fl.evaluation.predictions import Predictions
from fl.evaluation.strategy_comparison import (
    MeasuredTrainings,
    comparison,
    differences,
    sites_above,
)

# F1 at a threshold of .5, where half of the records show the class.
ALL_RIGHT, ONE_MISSED, ALL_CLAIMED, NONE_FOUND = 1.0, 2 / 3, 2 / 3, 0.0
PROBABILITIES = {
    "all right": (0.9, 0.9, 0.1, 0.1),
    "one missed": (0.9, 0.1, 0.1, 0.1),
    "all claimed": (0.9, 0.9, 0.9, 0.9),
    "none found": (0.1, 0.1, 0.1, 0.1),
    "all low": (0.4, 0.4, 0.1, 0.1),  # all right at a threshold of .3, none found at .5
}


def predicted(
    strategy,
    site,
    answer,
    patients=12,
    labels=(1, 1, 0, 0),
    records=0,
    source="mitdb",
    threshold=0.5,
):
    """What a model predicted for one record of each patient, or for more, in turn."""
    n = records or patients  # the four labels, again and again
    p = np.array([PROBABILITIES[answer][i % 4] for i in range(n)])[:, None]
    return Predictions(
        classes=("AF",),
        strategy=np.full(n, strategy),
        source=np.full(n, source),
        record=np.array([f"r{i}" for i in range(n)]),
        patient=np.array([f"{source}-{site}-{i % patients}" for i in range(n)]),
        site=np.full(n, site),
        split=np.full(n, "test"),
        labels=np.array([labels[i % 4] for i in range(n)], np.int8)[:, None],
        probabilities=p,
        decided=p >= threshold,
        fold=np.full(n, ""),
    )


def summaries():
    """A federated training, the pooled one, and each site's own."""
    steps = {"fedavg": 70, "local": None, "pooled": 50}
    return {name: SimpleNamespace(gradient_steps=n) for name, n in steps.items()}


def found_rows(lines, metric="macro_f1", against="local"):
    rows = differences(MeasuredTrainings(lines, seed=0), "fedavg", against)
    return {row.where: row for row in rows if row.metric == metric}


THREE_SITES = [
    predicted("fedavg", "site-1", "all right", 12),
    predicted("local", "site-1", "one missed", 12),
    predicted("fedavg", "site-2", "one missed", 16),
    predicted("local", "site-2", "all right", 16),
    predicted("fedavg", "site-3", "all right", 20),
    predicted("local", "site-3", "none found", 20),
]


def test_a_difference_is_one_training_minus_the_other_at_each_site():
    rows = found_rows(THREE_SITES)
    assert rows["site:site-1"].value == pytest.approx(ALL_RIGHT - ONE_MISSED)
    assert rows["site:site-2"].value == pytest.approx(ONE_MISSED - ALL_RIGHT)
    assert rows["site:site-3"].value == pytest.approx(ALL_RIGHT - NONE_FOUND)
    assert not {"central", "unseen"} & rows.keys()
    assert "FedAvg's macro-F1 is 1.000 higher" in rows["site:site-3"].sentence


def test_the_mean_over_sites_is_taken_of_each_training_first_and_there_is_no_worst_site():
    rows = found_rows(THREE_SITES)
    mean = (ALL_RIGHT + ONE_MISSED + ALL_RIGHT) / 3 - (ONE_MISSED + ALL_RIGHT + NONE_FOUND) / 3
    assert rows["mean_site"].value == pytest.approx(mean)
    assert rows.keys() == {"site:site-1", "site:site-2", "site:site-3", "mean_site"}


def test_each_row_counts_its_patients_and_only_ten_or_more_have_an_interval():
    few = [predicted(name, "site-4", "all right", 9, records=36) for name in ("fedavg", "local")]
    rows = found_rows([*THREE_SITES, *few])
    assert {where: row.n_patients for where, row in rows.items()} == {
        "site:site-1": 12,
        "site:site-2": 16,
        "site:site-3": 20,
        "site:site-4": 9,
        "mean_site": 57,
    }
    assert rows["site:site-4"].value == 0.0
    without = {where for where, row in rows.items() if row.low is None}
    assert without == {where for where, row in rows.items() if row.p_value is None}
    assert without == {"site:site-4"}


def test_the_p_values_of_sites_are_corrected_for_how_many_they_are():
    rows = found_rows(THREE_SITES)
    sites = [row for row in rows.values() if row.site]
    p, adjusted = [row.p_value for row in sites], [row.p_adjusted for row in sites]
    assert adjusted == holm(p)
    assert min(adjusted) == pytest.approx(3 * min(p))
    assert rows["mean_site"].p_adjusted == rows["mean_site"].p_value


@pytest.mark.parametrize(
    ("p_adjusted", "significant"), [(0.04, True), (0.06, False), (None, False)]
)
def test_a_site_can_be_significant_before_the_correction_alone(p_adjusted, significant):
    row = found_rows(THREE_SITES)["site:site-3"]
    assert is_significant(row.difference)
    row = row.model_copy(update={"p_adjusted": p_adjusted})
    assert row.significant_adjusted is significant


def test_only_against_pooled_training_a_row_says_whether_it_is_not_inferior():
    lines = [
        predicted(name, site, "all right", 400)
        for name in ("fedavg", "pooled", "local")
        for site in ("site-1",)
    ]
    assert found_rows(lines, against="pooled")["site:site-1"].non_inferior is True
    assert found_rows(lines, against="local")["site:site-1"].non_inferior is None
    worse = [predicted("fedavg", "site-1", "one missed", 400), *lines[1:]]
    assert found_rows(worse, against="pooled")["site:site-1"].non_inferior is False


def test_the_sites_above_zero_are_counted():
    measured = MeasuredTrainings(THREE_SITES, seed=0)
    found = list(sites_above(list(differences(measured, "fedavg", "local"))))
    assert [(row.metric, row.n_above, row.n_sites) for row in found] == [
        ("macro_f1", 2, 3),
        ("macro_auroc", 2, 3),
    ]
    assert {row.low for row in found} == {None}


def test_on_records_of_no_site_a_figure_is_the_mean_over_sources_by_patients():
    """The windows of the few patients of one source are most of the lines."""
    answers = {"fedavg": ("all right", "none found"), "local-a": ("all right", "all right")}
    parts = [
        part
        for name, (here, there) in answers.items()
        for part in (
            predicted(name, "central", here, 30, source="ptbxl"),
            predicted(name, "central", there, 10, records=400),
        )
    ]
    lines = [Predictions.joined(parts, ("AF",))]
    row = found_rows(lines)["central"]
    assert row.value == pytest.approx(-10 / 40)
    assert row.n_patients == 40


def test_a_patient_with_several_records_is_one_patient():
    lines = [predicted(name, "central", "all right", 3, records=4) for name in ("fedavg", "pooled")]
    measured = MeasuredTrainings(lines, seed=0)
    assert len(measured.patients("fedavg", "central")) == 3
    assert len(measured.patients("fedavg", "nowhere")) == 0


@pytest.mark.parametrize("metric", ["macro_f1", "macro_auroc"])
def test_a_site_without_a_positive_record_has_no_difference_and_is_left_out_of_the_mean(metric):
    lines = [
        predicted("fedavg", "site-1", "all right"),
        predicted("local", "site-1", "none found"),
        predicted("fedavg", "site-2", "all right", labels=(0, 0, 0, 0)),
        predicted("local", "site-2", "all right", labels=(0, 0, 0, 0)),
    ]
    rows = found_rows(lines, metric)
    assert rows["site:site-2"].value is None
    assert rows["mean_site"].value == rows["site:site-1"].value > 0
    assert rows["mean_site"].n_patients == 12


def test_where_no_site_can_be_measured_there_is_no_mean():
    lines = [
        predicted(name, site, "all right", labels=(0, 0, 0, 0))
        for name in ("fedavg", "local")
        for site in ("site-1", "site-2")
    ]
    for row in found_rows(lines).values():
        assert row.value is row.low is row.high is None
        assert row.n_patients == (12 if row.site else 24)


def test_without_a_site_there_is_no_mean_over_sites():
    lines = [predicted(name, "central", "all right") for name in ("fedavg", "pooled")]
    assert found_rows(lines, against="pooled").keys() == {"central"}


@pytest.mark.parametrize("where", ["central", "unseen"])
def test_on_records_of_no_site_local_training_is_the_mean_of_its_models(where):
    lines = [
        predicted("fedavg", where, "all right"),
        predicted("local-site-1", where, "one missed"),
        predicted("local-site-2", where, "none found"),
    ]
    rows = found_rows(lines)
    assert rows.keys() == {where}
    assert rows[where].value == pytest.approx(ALL_RIGHT - (ONE_MISSED + NONE_FOUND) / 2)


def test_what_each_model_decided_is_compared():
    lines = [
        predicted("fedavg", "central", "all low"),
        predicted("local-site-1", "central", "all low", threshold=0.3),
        predicted("fedavg", "site-1", "all low"),
        predicted("local", "site-1", "all low", threshold=0.3),
        predicted("fedavg", "site-2", "all low"),
        predicted("local", "site-2", "all low"),
    ]
    rows = found_rows(lines)
    assert rows["central"].value == NONE_FOUND - ALL_RIGHT
    assert rows["site:site-1"].value == NONE_FOUND - ALL_RIGHT
    assert rows["site:site-2"].value == 0


def test_where_a_training_was_not_measured_there_is_no_difference():
    lines = [predicted("fedavg", "central", "all right"), predicted("fedavg", "site-1", "all low")]
    measured = MeasuredTrainings(lines, seed=0)
    assert measured.sites == ["site-1"]
    assert measured.at("local", "central") is measured.at("local", "site-1") is None
    assert measured.at("fedavg", "central")["macro_f1"].value == ALL_RIGHT
    assert measured.at("fedavg", "central") is measured.at("fedavg", "central")
    assert list(differences(measured, "fedavg", "local")) == []


def test_every_training_is_compared_with_local_and_pooled_training_but_not_with_itself():
    lines = [predicted(name, "site-1", "all claimed") for name in ("fedavg", "local", "pooled")]
    found = comparison(summaries(), lines, seed=0, rounds=3, local_epochs=2)
    pairs = [(row.strategy, row.against) for row in found.differences if row.site]
    assert list(dict.fromkeys(pairs)) == [
        ("fedavg", "local"),
        ("fedavg", "pooled"),
        ("pooled", "local"),
    ]
    assert (found.budget.rounds, found.budget.local_epochs) == (3, 2)
    assert found.budget.steps == {"fedavg": 70, "local": None, "pooled": 50}
    for row in found.differences:
        figures = row.difference
        assert (figures.value, figures.low, figures.n_patients) == (row.value, row.low, 12)


@pytest.mark.parametrize(
    ("where", "site"),
    [
        ("site:site-1", "site-1"),
        ("site", None),
        ("central", None),
        ("source:mitdb", None),
    ],
)
def test_only_a_row_of_one_site_names_a_site(where, site):
    (row, *_) = found_rows(THREE_SITES).values()
    assert row.model_copy(update={"where": where}).site == site
