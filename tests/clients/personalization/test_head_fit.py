"""A head with a normal prior around the global one, against scikit-learn and its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from clients.personalization.head_fit import Head, HeadData, cross_fitted, fit_head, probabilities
from fl.util.random_streams import stream

WIDTH = 4


def made_data(n=60, classes=3, exclusive=False, per_patient=1, seed=0):
    """Crops whose labels depend on what the head reads; each patient has `per_patient`."""
    rng = stream(seed, "made heads")
    inputs = rng.normal(size=(n, WIDTH))
    scores = inputs @ rng.normal(size=(WIDTH, classes)) + rng.normal(size=(n, classes))
    labels = (scores > 0.3).astype(np.int8)
    if exclusive:
        labels = np.eye(classes, dtype=np.int8)[scores.argmax(axis=1)]
    return HeadData(
        inputs=inputs,
        features=np.zeros((n, 0)),
        example=np.arange(n),
        labels=labels,
        patient=np.arange(n) // per_patient,
        exclusive=exclusive,
        trainable=np.ones(classes, dtype=bool),
    )


def prior(classes=3, value=0.0):
    rng = stream(1, "prior")
    return Head(
        weight=value * rng.normal(size=(classes, WIDTH)), bias=value * rng.normal(size=classes)
    )


def with_ones(inputs):
    return np.column_stack([inputs, np.ones(len(inputs))])


@pytest.mark.parametrize("precision", [0.5, 20.0])
def test_around_zero_it_is_ridge_logistic_regression_for_each_class(precision):
    data = made_data()
    found = fit_head(data, prior(), precision)
    for c in range(3):
        model = LogisticRegression(C=1 / precision, fit_intercept=False, tol=1e-10, max_iter=1000)
        model.fit(with_ones(data.inputs), data.labels[:, c])
        expected = model.coef_[0]
        np.testing.assert_allclose(found.weight[c], expected[:-1], atol=1e-4)
        np.testing.assert_allclose(found.bias[c], expected[-1], atol=1e-4)


def test_around_zero_it_is_ridge_multinomial_regression_where_an_example_has_one_class():
    data = made_data(exclusive=True)
    found = fit_head(data, prior(), 2.0)
    model = LogisticRegression(C=1 / 2.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    model.fit(with_ones(data.inputs), data.labels.argmax(axis=1))
    expected = model.coef_
    np.testing.assert_allclose(with_bias(found), expected, atol=1e-4)


def with_bias(head):
    return np.column_stack([head.weight, head.bias])


@pytest.mark.parametrize("exclusive", [False, True])
def test_an_infinite_precision_is_the_global_head_and_a_large_one_is_close(exclusive):
    data, start = made_data(exclusive=exclusive), prior(value=1.0)
    assert fit_head(data, start, np.inf) is start
    np.testing.assert_allclose(with_bias(fit_head(data, start, 1e8)), with_bias(start), atol=1e-5)


def test_a_smaller_precision_moves_further():
    data, start = made_data(), prior(value=1.0)
    moves = [
        np.abs(with_bias(fit_head(data, start, precision)) - with_bias(start)).sum()
        for precision in (1000, 30, 1)
    ]
    assert moves == sorted(moves)


def test_a_class_that_nobody_shows_or_everybody_keeps_the_global_row():
    data, start = made_data(), prior(value=1.0)
    data.labels[:, 0] = 0
    data.labels[:, 1] = np.where(data.labels[:, 1] == 1, 1, -1)
    found = fit_head(data, start, 1.0)
    for c, kept in enumerate((True, True, False)):
        assert np.array_equal(found.weight[c], start.weight[c]) is kept
        assert (found.bias[c] == start.bias[c]) is np.bool_(kept)


def test_a_class_that_is_not_annotated_has_no_part_in_its_row():
    data = made_data()
    data.labels[::2, 0] = -1
    half = data.take(np.arange(60) % 2 == 1)
    found, expected = (fit_head(d, prior(), 1.0) for d in (data, half))
    np.testing.assert_allclose(with_bias(found)[0], with_bias(expected)[0], atol=1e-4)


@settings(max_examples=25)
@given(patients=st.sets(st.integers(0, 19)), exclusive=st.booleans())
def test_more_copies_of_a_patients_windows_change_nothing(patients, exclusive):
    data = made_data(exclusive=exclusive, per_patient=3)
    extra = np.flatnonzero(np.isin(data.patient, list(patients)))
    rows = np.concatenate([np.arange(60), extra])
    doubled = HeadData(
        inputs=data.inputs[rows],
        features=data.features[rows],
        example=np.arange(len(rows)),
        labels=data.labels[rows],
        patient=data.patient[rows],
        exclusive=exclusive,
        trainable=data.trainable,
    )
    one, other = (fit_head(d, prior(value=1.0), 3.0) for d in (data, doubled))
    np.testing.assert_allclose(with_bias(one), with_bias(other), atol=1e-4)


def test_the_crops_of_an_example_count_as_one():
    data = made_data(per_patient=3)
    example = np.concatenate([np.arange(60), np.zeros(5, dtype=int)])
    cropped = HeadData(
        inputs=data.inputs[example],
        features=data.features[example],
        example=example,
        labels=data.labels[example],
        patient=data.patient[example],
        exclusive=False,
        trainable=data.trainable,
    )
    one, other = (fit_head(d, prior(), 3.0) for d in (data, cropped))
    np.testing.assert_allclose(with_bias(one), with_bias(other), atol=1e-4)


def cross(data, precisions, start):
    return cross_fitted(
        data,
        data.patient % 4,
        start,
        precisions,
        n_examples=len(data.inputs),
        fitted=np.ones(len(data.inputs), dtype=bool),
    )


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_patients_own_labels_do_not_reach_its_cross_fitted_answer(exclusive):
    data, other = (made_data(exclusive=exclusive, per_patient=3) for _ in range(2))
    mine = np.flatnonzero(data.patient == 5)
    other.labels[mine] = np.roll(other.labels[mine], 1, axis=1)
    other.inputs[mine[1:]] += 9.0
    start = prior(value=1.0)
    for one, two in zip(*(cross(d, [np.inf, 1.0], start) for d in (data, other)), strict=True):
        np.testing.assert_array_equal(one[mine[0]], two[mine[0]])
    assert not np.array_equal(one, two)  # the others' answers do depend on that patient


def test_cross_fitted_answers_of_the_global_head_are_its_own():
    data, start = made_data(per_patient=3), prior(value=1.0)
    (found,) = cross(data, [np.inf], start)
    np.testing.assert_allclose(found, probabilities(data, start, 60))


def test_what_follows_the_head_is_part_of_the_fit():
    data = made_data()

    def shifted(logits, features):
        return logits + 1.5

    plain, found = fit_head(data, prior(), 1e-3), fit_head(data, prior(), 1e-3, after=shifted)
    np.testing.assert_allclose(
        probabilities(data, plain, 60), probabilities(data, found, 60, shifted), atol=0.01
    )
    assert np.abs(plain.bias - found.bias).min() > 1
