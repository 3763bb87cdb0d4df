"""Trainings on the same few records, whose differences can be worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from fl.evaluation.predictions import Predictions
from fl.evaluation.strategy_comparison import MeasuredTrainings, comparison, differences

# F1 at a threshold of .5, of two records with the class and two without.
ALL_RIGHT, ONE_MISSED, ALL_CLAIMED, NONE_FOUND = 1.0, 2 / 3, 2 / 3, 0.0
PROBABILITIES = {
    "all right": (0.9, 0.9, 0.1, 0.1),
    "one missed": (0.9, 0.1, 0.1, 0.1),
    "all claimed": (0.9, 0.9, 0.9, 0.9),
    "none found": (0.1, 0.1, 0.1, 0.1),
    "all low": (0.4, 0.4, 0.1, 0.1),  # all right at a threshold of .3, none found at .5
}
HALF = {"pooled": {"AF": 0.5}}


def predicted(strategy, site, answer, patients=4, labels=(1, 1, 0, 0)):
    """What a model predicted for as many records as patients, or a few more of the last patient."""
    n = 4 * ((patients + 3) // 4)  # the four labels, again and again
    return Predictions(
        classes=("AF",),
        strategy=np.full(n, strategy),
        source=np.full(n, "mitdb"),
        record=np.array([f"r{i}" for i in range(n)]),
        patient=np.array([f"{site}-{min(i, patients - 1)}" for i in range(n)]),
        site=np.full(n, site),
        split=np.full(n, "test"),
        labels=np.array([labels[i % 4] for i in range(n)], np.int8)[:, None],
        probabilities=np.array([PROBABILITIES[answer][i % 4] for i in range(n)])[:, None],
    )


def trained(steps=None, thresholds=HALF, by_site=None):
    return SimpleNamespace(gradient_steps=steps, thresholds=thresholds, thresholds_by_site=by_site)


def summaries(**by_site):
    """A federated training, the pooled one, and each site's own with its own thresholds."""
    own = dict.fromkeys(("site-1", "site-2", "site-3"), HALF) | by_site
    return {
        "fedavg": trained(70),
        "local": trained(None, None, own),
        "pooled": trained(50),
    }


def found_rows(lines, metric="macro_f1", against="local", **by_site):
    measured = MeasuredTrainings(summaries(**by_site), lines, seed=0)
    rows = differences(measured, "fedavg", against)
    return {row.where: row for row in rows if row.metric == metric}


THREE_SITES = [
    predicted("fedavg", "site-1", "all right", 4),
    predicted("local", "site-1", "one missed", 4),
    predicted("fedavg", "site-2", "one missed", 8),
    predicted("local", "site-2", "all right", 8),
    predicted("fedavg", "site-3", "all right", 12),
    predicted("local", "site-3", "none found", 12),
]


def test_a_difference_is_one_training_minus_the_other_at_each_site():
    rows = found_rows(THREE_SITES)
    assert rows["site:site-1"].value == pytest.approx(ALL_RIGHT - ONE_MISSED)
    assert rows["site:site-2"].value == pytest.approx(ONE_MISSED - ALL_RIGHT)
    assert rows["site:site-3"].value == pytest.approx(ALL_RIGHT - NONE_FOUND)
    assert not {"central", "unseen"} & rows.keys()
    assert "FedAvg's macro-F1 is .333 higher" in rows["site:site-1"].sentence


def test_the_mean_and_the_worst_site_are_taken_of_each_training_first():
    rows = found_rows(THREE_SITES)
    mean = (ALL_RIGHT + ONE_MISSED + ALL_RIGHT) / 3 - (ONE_MISSED + ALL_RIGHT + NONE_FOUND) / 3
    assert rows["mean_site"].value == pytest.approx(mean)
    assert rows["worst_site"].value == pytest.approx(ONE_MISSED - NONE_FOUND)


def test_each_row_counts_its_patients_and_only_ten_or_more_have_an_interval():
    rows = found_rows(THREE_SITES)
    assert {where: row.n_patients for where, row in rows.items()} == {
        "site:site-1": 4,
        "site:site-2": 8,
        "site:site-3": 12,
        "mean_site": 24,
        "worst_site": 24,
    }
    with_interval = {where for where, row in rows.items() if row.low is not None}
    assert with_interval == {"site:site-3", "mean_site", "worst_site"}


def test_a_patient_with_several_records_is_one_patient():
    lines = [predicted(name, "central", "all right", 3) for name in ("fedavg", "pooled")]
    measured = MeasuredTrainings(summaries(), lines, seed=0)
    assert measured.n_patients("central") == 3
    assert measured.n_patients("nowhere") == 0


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
    for where in ("mean_site", "worst_site"):
        assert rows[where].value == rows["site:site-1"].value > 0
        assert rows[where].n_patients == 4


def test_where_no_site_can_be_measured_there_is_no_mean():
    lines = [
        predicted(name, site, "all right", labels=(0, 0, 0, 0))
        for name in ("fedavg", "local")
        for site in ("site-1", "site-2")
    ]
    for row in found_rows(lines).values():
        assert row.value is row.low is row.high is None
        assert row.n_patients == (4 if row.site else 8)


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


def test_each_site_that_trains_alone_decides_by_its_own_thresholds():
    low = {"pooled": {"AF": 0.3}}
    lines = [
        predicted("fedavg", "central", "all low"),
        predicted("local-site-1", "central", "all low"),
        predicted("fedavg", "site-1", "all low"),
        predicted("local", "site-1", "all low"),
        predicted("fedavg", "site-2", "all low"),
        predicted("local", "site-2", "all low"),
    ]
    rows = found_rows(lines, **{"site-1": low})
    assert rows["central"].value == NONE_FOUND - ALL_RIGHT
    assert rows["site:site-1"].value == NONE_FOUND - ALL_RIGHT
    assert rows["site:site-2"].value == 0


def test_where_a_training_was_not_measured_there_is_no_difference():
    lines = [predicted("fedavg", "central", "all right"), predicted("fedavg", "site-1", "all low")]
    measured = MeasuredTrainings(summaries(), lines, seed=0)
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
        assert (figures.value, figures.low, figures.n_patients) == (row.value, row.low, 4)


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
