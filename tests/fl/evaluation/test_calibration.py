"""Probabilities that mean what they say have no error; a reliability curve loses no example."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info

from fl.evaluation.calibration import expected_calibration_error, recalibration, reliability
from fl.util.random_streams import stream

answers = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60)


def made(n=4000, bend=1.0):
    """Truth drawn from probabilities, and what a model that bends them would say."""
    rng = stream(0, "calibration")
    p = rng.uniform(size=n)
    return rng.uniform(size=n) < p, p**bend


def test_the_curve_is_scikit_learns():
    truth, p = made(bend=2)
    curve = reliability(truth, p)
    observed, predicted = calibration_curve(truth, p, n_bins=10)
    assert [point.observed for point in curve] == pytest.approx(observed.tolist())
    assert [point.mean_p for point in curve] == pytest.approx(predicted.tolist())


@given(answers)
def test_every_example_is_in_one_bin_that_holds_its_probability(pairs):
    truth, p = (np.array(column) for column in zip(*pairs, strict=True))
    curve = reliability(truth, p)
    assert sum(point.n for point in curve) == len(p)
    for point in curve:
        assert point.low - 1e-12 <= point.mean_p <= point.high + 1e-12


def test_probabilities_that_are_right_have_a_small_error_and_bent_ones_a_large_one():
    assert expected_calibration_error(reliability(*made())) < 0.03
    assert expected_calibration_error(reliability(*made(bend=3))) > 0.2


def test_the_error_is_the_mean_distance_weighed_by_examples():
    truth, p = np.array([True, False, True, True]), np.array([0.25, 0.25, 0.95, 0.95])
    # Half the examples are said to be .25 and are .5; half are said to be .95 and are 1.
    assert expected_calibration_error(reliability(truth, p)) == pytest.approx(0.15)


def test_a_probability_on_an_edge_is_in_the_bin_that_begins_there_and_one_is_in_the_last():
    p = np.array([0.0, 0.5, 1.0])
    curve = reliability(np.array([False, True, True]), p)
    assert [point.low for point in curve] == pytest.approx([0, 0.5, 0.9])
    assert [point.high for point in curve] == pytest.approx([0.1, 0.6, 1])
    assert [(point.n, point.mean_p, point.observed) for point in curve] == [
        (1, 0.0, 0.0),
        (1, 0.5, 1.0),
        (1, 1.0, 1.0),
    ]


def blas_threads():
    """How many threads each library of linear algebra uses."""
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


def test_a_slope_is_fitted_on_one_thread(monkeypatch):
    """Else its last digit would depend on how many cores a machine has."""
    truth, p = made()
    who, fit, seen = np.arange(len(p)) // 400, LogisticRegression.fit, []

    def watched(model, *given, **weights):
        seen.append(blas_threads())
        return fit(model, *given, **weights)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    before = blas_threads()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: recalibration(truth, p, who), range(8)))
    found.append(recalibration(truth, p, who))
    assert blas_threads() == before
    assert seen == [[1] * len(before)] * 9
    assert found == found[:1] * 9
