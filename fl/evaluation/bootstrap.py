"""Bootstrap intervals by patient: records of one patient are not independent."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.metrics import Labels, Probs
from fl.util.random_streams import stream


@dataclass(frozen=True)
class Draws:
    """Bootstrap draws of one group of examples: how often each patient was drawn."""

    weights: NDArray[np.float64]  # (draw, patient)
    patient: NDArray[np.int64]  # (example,) its patient, as a column of `weights`


def draw_patients(
    patients: NDArray[np.str_], seed: int, draws: int = 1000, *, group: str = ""
) -> Draws:
    """Draw patients with replacement, as often as there are patients.

    Groups of different names are drawn independently, even if they are of one size.
    """
    names, patient = np.unique(patients, return_inverse=True)
    rng = stream(seed, "bootstrap", len(names), *([group] if group else []))
    picks = rng.integers(0, len(names), size=(draws, len(names)))
    weights = np.stack([np.bincount(row, minlength=len(names)) for row in picks])
    return Draws(weights.astype(np.float64), patient)


def bootstrap_macro(
    labels: Labels, p: Probs, predicted: NDArray[np.bool_], draws: Draws
) -> dict[str, NDArray[np.float64]]:
    """macro_f1 and macro_auroc of each draw: (draw,) each; nan where no class is measurable.

    The classes of a draw are those with a positive and a negative example in that draw.
    """
    n_draws, n_patients = draws.weights.shape
    f1s, aurocs = [], []
    for c in range(labels.shape[1]):
        known = labels[:, c] >= 0
        truth, guess, who = labels[known, c] == 1, predicted[known, c], draws.patient[known]

        def drawn(mask: NDArray[np.bool_], who: NDArray[np.int64] = who) -> NDArray[np.float64]:
            return draws.weights @ np.bincount(who[mask], minlength=n_patients)

        positive, negative = drawn(truth), drawn(~truth)
        true, claimed = drawn(truth & guess), drawn(guess)
        measurable = (positive > 0) & (negative > 0)
        with np.errstate(invalid="ignore"):
            f1s.append(np.where(measurable, 2 * true / (positive + claimed), np.nan))
        aurocs.append(_weighted_aurocs(truth, p[known, c], who, draws.weights))
    return {
        name: _nanmean(np.stack(columns)) if columns else np.full(n_draws, np.nan)
        for name, columns in (("macro_f1", f1s), ("macro_auroc", aurocs))
    }


def interval(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The middle 95% of the draws; (None, None) where fewer than 20 have a value."""
    known = values[np.isfinite(values)]
    if len(known) < 20:
        return None, None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _weighted_aurocs(
    truth: NDArray[np.bool_],
    p: Probs,
    who: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """AUROC of one class under each draw's weights: (draw,)."""
    # How often one patient's positives score above another's negatives is the same in every draw,
    # so a draw takes two products. All terms are whole or half numbers: sums are exact.
    with_positive, of_positive = np.unique(who[truth], return_inverse=True)
    with_negative, of_negative = np.unique(who[~truth], return_inverse=True)
    by_patient = np.split(
        p[~truth][np.lexsort((p[~truth], of_negative))], np.bincount(of_negative).cumsum()[:-1]
    )
    wins = np.empty((len(with_positive), len(with_negative)))
    for column, negatives in enumerate(by_patient[: len(with_negative)]):
        beaten = [np.searchsorted(negatives, p[truth], side) for side in ("left", "right")]
        wins[:, column] = np.bincount(of_positive, sum(beaten) / 2, minlength=len(with_positive))
    positive, negative = weights[:, with_positive], weights[:, with_negative]
    won = ((positive @ wins) * negative).sum(axis=1)
    pairs = (positive @ np.bincount(of_positive)) * (negative @ np.bincount(of_negative))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, won / pairs, np.nan)


def _nanmean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis, without nan; nan where all values are nan."""
    known = np.isfinite(rows)
    counts = known.sum(axis=0)
    sums = np.where(known, rows, 0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
