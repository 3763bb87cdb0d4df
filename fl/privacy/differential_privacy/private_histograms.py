"""Validation under differential privacy: coarse histograms of scores, with noise.

A patient counts once in each class, in all its bins together; so one patient changes a source's
histograms by a length of at most the square root of the number of classes. Which patients a site
has, how many, and which classes a source annotates is not hidden.
"""

import math

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.decisions.platt_scaling import PRIOR_SD, SMALLEST_SLOPE, sigmoid
from fl.evaluation.decisions.score_histograms import BIN_LOGITS, BINS, PATIENT, ScoreHistograms
from fl.privacy.differential_privacy.gaussian_noise import NormalNoise

COARSE_BINS = 16
WIDTH = BINS // COARSE_BINS  # fine bins in a coarse one
COARSE_LOGITS = BIN_LOGITS.reshape(COARSE_BINS, WIDTH).mean(axis=1)  # in the middle of each bin
SMALLEST_VARIANCE = 1e-6  # of a count, in patients squared: without noise an empty bin has none
LARGEST_SLOPE, LARGEST_INTERCEPT = 10.0, 20.0  # of log-odds: no network is further off


def count_noise(noise_multiplier: float, classes: int) -> float:
    """The standard deviation of each count of a noised histogram, in patients."""
    return noise_multiplier * math.sqrt(classes)


def noised_histograms(
    scores: ScoreHistograms, noise_multiplier: float, normal: NormalNoise
) -> ScoreHistograms:
    """Coarse counts with noise, at the first fine bin of each coarse one; they may be negative.

    `noise_multiplier` is the standard deviation over the length by which one patient changes all.
    Numbers of patients are left out: `readable_histograms` takes them from the counts.
    """
    scale = count_noise(noise_multiplier, len(scores.positive)) * PATIENT
    found = []
    for counts in (scores.positive, scores.negative):
        coarse = _coarse(counts)
        noise = scale * normal(coarse.size).reshape(coarse.shape) if scale else 0.0
        found.append(_at_first_bins(np.rint(coarse + noise).astype(np.int64)))
    return ScoreHistograms(found[0], found[1], np.zeros_like(scores.patients))


def readable_histograms(noised: ScoreHistograms, noise: float) -> ScoreHistograms:
    """Histograms as others are, from the sum of noised ones: what they most probably were.

    `noise`: the standard deviation of a count, in patients. A class has few patients in most bins,
    and what is read of each bin by itself is mostly noise. So of each class three things are
    estimated: how all scores are spread, which are many; and slope and intercept of the log-odds
    that a score is of a patient with the class, as Platt scaling has them, with its prior. Each
    count is weighted by the variance that noise and chance give it.
    """
    positive, negative = (_coarse(counts) for counts in (noised.positive, noised.negative))
    fitted = [_fitted(*counts, noise) for counts in zip(positive, negative, strict=True)]
    positive, negative = (np.stack(parts) for parts in zip(*fitted, strict=True))
    shown, absent = (
        np.rint(c.sum(axis=1) / PATIENT).astype(np.int64) for c in (positive, negative)
    )
    return ScoreHistograms(
        _spread(positive), _spread(negative), np.stack([shown, shown + absent], axis=1)
    )


def _fitted(
    positive: NDArray[np.int64], negative: NDArray[np.int64], noise: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Most probable counts of one class: (COARSE_BINS,) each, with and without it."""
    from scipy.optimize import least_squares  # here: sites, which import this, have no use for it

    found = np.concatenate([positive, negative]) / PATIENT
    everyone = _projected(positive + negative) / PATIENT

    def expected(at: NDArray[np.float64]) -> NDArray[np.float64]:
        p = sigmoid(at[0] * COARSE_LOGITS + at[1])
        return np.concatenate([everyone * p, everyone * (1 - p)])

    def errors(at: NDArray[np.float64]) -> NDArray[np.float64]:
        p = sigmoid(at[0] * COARSE_LOGITS + at[1])
        chance = np.tile(everyone * p * (1 - p), 2)
        differ = (found - expected(at)) / np.sqrt(noise**2 + chance + SMALLEST_VARIANCE)
        return np.concatenate([differ, (at - [1.0, 0.0]) / PRIOR_SD])

    most = ([SMALLEST_SLOPE, -LARGEST_INTERCEPT], [LARGEST_SLOPE, LARGEST_INTERCEPT])
    at = least_squares(errors, [1.0, 0.0], bounds=most).x
    counts = np.rint(expected(at) * PATIENT).astype(np.int64)
    return counts[:COARSE_BINS], counts[COARSE_BINS:]


def share_of(scores: ScoreHistograms, patients: int, of: int) -> ScoreHistograms:
    """The part of everybody's histograms that falls to a source with so many of the patients."""
    parts = {name: counts * patients // max(of, 1) for name, counts in vars(scores).items()}
    return ScoreHistograms(**parts)


def _coarse(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(class, BINS) -> (class, COARSE_BINS)."""
    return np.asarray(counts.reshape(len(counts), COARSE_BINS, WIDTH).sum(axis=2))


def _at_first_bins(coarse: NDArray[np.int64]) -> NDArray[np.int64]:
    fine = np.zeros((len(coarse), BINS), dtype=np.int64)
    fine[:, ::WIDTH] = coarse
    return fine


def _spread(coarse: NDArray[np.int64]) -> NDArray[np.int64]:
    """Evenly over the fine bins of each coarse one."""
    return np.repeat(coarse // WIDTH, WIDTH, axis=1)


def _projected(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest counts that are not negative and have the same sum.

    So noise in empty bins adds no patients (Euclidean projection onto a simplex: Duchi et al. 2008,
    doi:10.1145/1390156.1390191).
    """
    total = float(counts.sum())
    if total <= 0:
        return np.zeros_like(counts)
    ordered = np.sort(counts)[::-1].astype(np.float64)
    excess = (ordered.cumsum() - total) / np.arange(1, len(ordered) + 1)
    shift = excess[np.flatnonzero(ordered > excess)[-1]]
    return np.asarray(np.rint(np.maximum(counts - shift, 0.0)), dtype=np.int64)
