"""Validation under differential privacy: coarse histograms of scores, with noise.

A patient counts once in each class, in all its bins together; so one patient changes a source's
histograms by a length of at most the square root of the number of classes. Which patients a site
has, how many, and which classes a source annotates is not hidden.
"""

import math

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.decisions.score_histograms import BINS, PATIENT, ScoreHistograms
from fl.privacy.differential_privacy.gaussian_noise import NormalNoise

COARSE_BINS = 16
WIDTH = BINS // COARSE_BINS  # fine bins in a coarse one


def noised_histograms(
    scores: ScoreHistograms, noise_multiplier: float, normal: NormalNoise
) -> ScoreHistograms:
    """Coarse counts with noise, at the first fine bin of each coarse one; they may be negative.

    `noise_multiplier` is the standard deviation over the length by which one patient changes all.
    Numbers of patients are left out: `readable_histograms` takes them from the counts.
    """
    classes = len(scores.positive)
    scale = noise_multiplier * math.sqrt(classes) * PATIENT
    found = []
    for counts in (scores.positive, scores.negative):
        coarse = _coarse(counts)
        noise = scale * normal(coarse.size).reshape(coarse.shape) if scale else 0.0
        found.append(_at_first_bins(np.rint(coarse + noise).astype(np.int64)))
    return ScoreHistograms(found[0], found[1], np.zeros_like(scores.patients))


def readable_histograms(noised: ScoreHistograms) -> ScoreHistograms:
    """Histograms as others are, from the sum of noised ones: no count is negative.

    The counts of a class are brought to the nearest ones that are not negative and have the same
    sum, so that noise in empty bins does not add patients (Euclidean projection onto a simplex:
    Duchi et al. 2008, doi:10.1145/1390156.1390191), and are spread over the fine bins.
    """
    positive, negative = (
        np.stack([_projected(row) for row in _coarse(counts)])
        for counts in (noised.positive, noised.negative)
    )
    shown, absent = (
        np.rint(c.sum(axis=1) / PATIENT).astype(np.int64) for c in (positive, negative)
    )
    return ScoreHistograms(
        _spread(positive), _spread(negative), np.stack([shown, shown + absent], axis=1)
    )


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
    total = float(counts.sum())
    if total <= 0:
        return np.zeros_like(counts)
    ordered = np.sort(counts)[::-1].astype(np.float64)
    excess = (ordered.cumsum() - total) / np.arange(1, len(ordered) + 1)
    shift = excess[np.flatnonzero(ordered > excess)[-1]]
    return np.asarray(np.rint(np.maximum(counts - shift, 0.0)), dtype=np.int64)
