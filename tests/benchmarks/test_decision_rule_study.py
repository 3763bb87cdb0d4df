"""The study behind the decision rule counts patients, and finds the odds that a shift has."""

import numpy as np
import pytest
from support.made_cohorts import made_cohort
from support.rules import even_rule

from benchmarks.studies.decision_rule import Model, Scored, odds_elsewhere
from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.platt_scaling import sigmoid
from fl.util.random_streams import stream


def drawn(n, shift, name):
    """Patients whose only class is AF or none, and a network that is right on average at 0."""
    rng = stream(0, "drawn", name)
    logits = rng.normal(0, 2, n)
    shown = rng.random(n) < sigmoid(logits + shift)
    p = np.full((n, 9), 1e-6)
    p[:, 1] = sigmoid(logits)
    cohort = made_cohort([f"{name}{i}" for i in range(n)], [[1] if yes else [] for yes in shown])
    return Scored(cohort=cohort, p=p)


@pytest.mark.parametrize("shift", [0.0, -1.4])
def test_the_odds_elsewhere_are_those_of_the_patients_there(shift):
    model = Model(name="x", validation=drawn(4000, 0.0, "a"), elsewhere=drawn(4000, shift, "b"))
    _, observed, odds = odds_elsewhere(model)
    assert observed == (model.elsewhere.cohort.labels[:, 1] == 1).sum()
    assert odds == pytest.approx(np.exp(shift), rel=0.2)


def test_many_windows_of_a_patient_count_as_one():
    # Four patients with AF, of whom one is missed in ten windows, and four without.
    patients = ["a"] * 10 + list("bcdefgh")
    classes = [[1]] * 13 + [[]] * 4
    cohort = made_cohort(patients, classes)
    p = np.full((17, 9), 0.1)
    p[10:13, 1] = 0.9
    f1, _ = Scored(cohort=cohort, p=p).macro(even_rule(RHYTHM.classes))
    assert f1 == pytest.approx(2 * 3 / (3 + 4))
