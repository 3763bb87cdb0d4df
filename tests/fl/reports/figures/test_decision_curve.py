"""Net benefit, by hand on a few patients."""

import numpy as np
import pytest

from fl.evaluation.predictions import Predictions
from fl.reports.figures.decision_curve import (
    MIN_PATIENTS,
    THRESHOLDS,
    curves,
    decision_curve,
    decision_curves,
    patient_weights,
)

TRUTH = np.array([True, True, False, False])
P = np.array([0.9, 0.3, 0.6, 0.1])


def at(threshold):
    return int(np.flatnonzero(np.isclose(THRESHOLDS, threshold))[0])


def test_net_benefit_weighs_false_positives_by_the_odds_of_the_threshold():
    curve = decision_curve(TRUTH, P, np.ones(4))
    assert curve.model[at(0.5)] == pytest.approx(1 / 4 - 1 / 4 * 0.5 / 0.5)
    assert curve.model[at(0.2)] == pytest.approx(2 / 4 - 1 / 4 * 0.2 / 0.8)
    assert curve.treat_all[at(0.2)] == pytest.approx(2 / 4 - 2 / 4 * 0.2 / 0.8)


def test_a_patient_counts_once_whatever_the_number_of_windows():
    weights = patient_weights(np.array(["a", "a", "a", "b"]))
    assert weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    once = decision_curve(TRUTH, P, np.ones(4))
    again = np.repeat(np.arange(4), [5, 1, 1, 1])
    twice = decision_curve(TRUTH[again], P[again], np.array([0.2] * 5 + [1] * 3))
    assert twice.model == pytest.approx(once.model)


def predictions(positive_patients):
    n = positive_patients + 20
    labels = np.zeros((n, 1), dtype=np.int8)
    labels[:positive_patients] = 1
    texts = dict.fromkeys(("strategy", "source", "record", "site", "split", "fold"))
    return Predictions(
        classes=("AF",),
        **{name: np.full(n, "x") for name in texts},
        patient=np.arange(n).astype(str),
        labels=labels,
        probabilities=np.full((n, 1), 0.5),
        decided=np.ones((n, 1), dtype=bool),
    )


def test_a_class_of_too_few_patients_has_no_curve():
    assert list(curves(predictions(MIN_PATIENTS))) == [0]
    assert curves(predictions(MIN_PATIENTS - 1)) == {}
    assert decision_curves(predictions(MIN_PATIENTS - 1)) is None
