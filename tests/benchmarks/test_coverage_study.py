"""The simulation of coverage counts intervals about the truth, and says where the aim is missed."""

import numpy as np
import pytest

from benchmarks.studies.coverage import (
    CLASSES,
    PREVALENCE,
    Coverage,
    Group,
    Plan,
    simulate,
    table,
    verdict,
)
from fl.util.random_streams import stream

PLAN = Plan(patients=40, windows=1, replications=8, draws=40)


@pytest.fixture(scope="module")
def counted():
    population = Group.drawn(4000, 1, stream(0, "population"))
    return simulate(PLAN, [population.measured(model) for model in (0, 1)], seed=0)


def test_an_interval_covers_what_lies_between_its_ends():
    found = Coverage().after((0.2, 0.4), 0.2).after((0.2, 0.4), 0.5).after((None, None), 0.3)
    assert (found.covering, found.intervals, found.share) == (1, 2, 0.5)
    assert str(found) == "0.500 ± 0.354"


def test_the_population_has_the_stated_shares_and_the_second_model_is_worse():
    group = Group.drawn(4000, 1, stream(0, "population"))
    np.testing.assert_allclose(group.labels.mean(axis=0), PREVALENCE, atol=0.03)
    first, second = (group.measured(model) for model in (0, 1))
    assert first.macro_classes == CLASSES
    assert 0.85 < second.macro_auroc < first.macro_auroc < 0.99


def test_windows_of_a_patient_share_the_patients_classes():
    group = Group.drawn(50, 8, stream(0, "windows"))
    assert len(group.labels) == 400
    shown = np.array([group.labels[group.patient == i].any(axis=0) for i in range(50)])
    assert group.labels.sum() < 8 * shown.sum()
    assert group.labels.sum() > 4 * shown.sum()


def test_every_method_is_counted_on_the_same_groups(counted):
    assert {one.intervals for one in counted.values()} == {PLAN.replications}
    assert 0.5 < counted["now", "macro_auroc", "value"].share <= 1
    lines = table({PLAN: counted})
    assert len(lines) == 2 + 4
    assert all(line.count("|") == 8 for line in lines)


def test_where_the_aim_is_missed_is_said():
    key = ("now", "macro_f1", "value")
    assert verdict({PLAN: {key: Coverage(19, 20)}}).endswith("nowhere.")
    assert "macro-F1 (value) of 40 patients" in verdict({PLAN: {key: Coverage(18, 20)}})
