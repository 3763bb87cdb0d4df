"""Noised histograms of validation can be added, and read as others are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.evaluation.decisions.platt_scaling import fit_platt
from fl.evaluation.decisions.score_histograms import (
    PATIENT,
    count_scores,
    empty_histograms,
    histogram_aurocs,
)
from fl.privacy.differential_privacy.gaussian_noise import seeded_noise
from fl.privacy.differential_privacy.private_histograms import (
    count_noise,
    noised_histograms,
    readable_histograms,
)


def scores(rng, n=300):
    labels = (rng.random((n, 3)) < 0.3).astype(np.int8)
    p = 1 / (1 + np.exp(-(3 * labels - 2 + rng.normal(size=(n, 3)))))
    return count_scores(labels, p, np.array([f"P{i}" for i in range(n)]))


def length(a, b):
    return np.sqrt(
        sum(
            ((getattr(a, name) - getattr(b, name)) / PATIENT).astype(float).ravel()
            @ ((getattr(a, name) - getattr(b, name)) / PATIENT).ravel()
            for name in ("positive", "negative")
        )
    )


@given(windows=st.integers(1, 1000))
def test_one_patient_changes_them_by_at_most_the_root_of_the_number_of_classes(windows):
    rng = np.random.default_rng(windows)
    labels = rng.integers(-1, 2, (windows + 2, 3)).astype(np.int8)
    p, names = rng.random((windows + 2, 3)), np.array(["A", "B", *["C"] * windows])
    with_patient = count_scores(labels, p, names)
    without = count_scores(labels[:2], p[:2], names[:2])
    coarse = [noised_histograms(s, 0.0, seeded_noise(0)) for s in (with_patient, without)]
    assert length(*coarse) <= np.sqrt(3) * 1.001


def test_without_noise_they_are_nearly_the_fine_histograms(rng):
    fine = scores(rng)
    coarse = readable_histograms(noised_histograms(fine, 0.0, seeded_noise(0)), 0.0)
    assert histogram_aurocs(coarse) == pytest.approx(histogram_aurocs(fine), abs=0.03)
    assert np.abs(coarse.patients - fine.patients).max() <= 3


def test_noise_in_empty_bins_adds_hardly_any_patient(rng):
    noised = noised_histograms(scores(rng), 1.0, seeded_noise(1))
    assert (noised.positive < 0).any()
    found = readable_histograms(noised, count_noise(1.0, 3))
    assert found.positive.min() >= 0
    assert abs(int(found.patients[:, 1].sum()) - 900) < 60
    assert (found.patients[:, 0] <= found.patients[:, 1]).all()


def test_calibration_survives_noise_that_hides_every_bin(rng):
    """Nine in ten patients lack the class, so that most of its bins hold less than the noise."""
    n = 200
    logits = rng.normal(-3, 2, (n, 3))
    labels = (rng.random((n, 3)) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    exact = count_scores(labels, 1 / (1 + np.exp(-logits)), np.arange(n).astype(str))
    truth = [fit_platt(*counts) for counts in zip(exact.positive, exact.negative, strict=True)]
    off = []
    for draw in range(20):
        noised = noised_histograms(exact, 1.0, seeded_noise(draw))
        found = readable_histograms(noised, count_noise(1.0, 3))
        for right, *counts in zip(truth, found.positive, found.negative, strict=True):
            off.append(fit_platt(*counts).intercept - right.intercept)
    assert abs(np.mean(off)) < 0.3
    assert np.std(off) < 0.6


def test_nobody_gives_nothing():
    nothing = empty_histograms(3)
    found = readable_histograms(noised_histograms(nothing, 0.0, seeded_noise(0)), 0.0)
    assert not found.positive.any()
    assert not found.patients.any()
