"""Bootstrap intervals by patient: records of one patient are not independent.

The classes of a macro average are those of the whole group in every draw, and patients are drawn
within their main class, so that a rare class is seldom missing from a draw. How often an interval
covers the truth is simulated by `benchmarks/studies/coverage.py`; docs/coverage.md has the result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.metrics import Labels, Probs, Scores, count_patients
from fl.util.random_streams import stream

MIN_INTERVAL_PATIENTS = 10  # of a group with an interval: a handful represents nobody else
MIN_DRAWS = 20  # with a value, for an interval
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Draws:
    """Bootstrap draws of one group of examples: how often each patient was drawn."""

    weights: NDArray[np.float64]  # (draw, patient) whole numbers
    patient: NDArray[np.int64]  # (example,) its patient, as a column of `weights`


@dataclass(frozen=True)
class BootstrapEstimate:
    """One figure of one model on one group of examples, and of every bootstrap draw of it."""

    value: float | None  # None: no class of the group can be measured
    draws: NDArray[np.float64]  # (draw,); nan where a draw lacks a class
    patients: float = 0.0  # on the rarer side of each class, summed over the classes
    freedom: float = 0.0  # degrees of freedom of the draws' standard error

    def __sub__(self, other: "BootstrapEstimate") -> "BootstrapEstimate":
        """How much higher it is than that of another model, in the same draws."""
        value = None if self.value is None or other.value is None else self.value - other.value
        return BootstrapEstimate(
            value,
            self.draws - other.draws,
            min(self.patients, other.patients),
            min(self.freedom, other.freedom),
        )

    @property
    def error(self) -> float | None:
        """Standard error; None without a value in enough draws.

        Half a patient who is answered otherwise is added: that all of a few patients are answered
        alike does not mean that all others are.
        """
        known = self.draws[np.isfinite(self.draws)]
        if self.value is None or self.freedom <= 0 or len(known) < MIN_DRAWS:
            return None
        return math.hypot(known.std(), 0.5 / self.patients)


Interval = tuple[float | None, float | None]


def draw_patients(
    patients: NDArray[np.str_], labels: Labels, seed: int, draws: int = 1000, *, group: str = ""
) -> Draws:
    """Draw as many patients as there are, with replacement, within their main classes.

    How many of each main class is drawn as well, at least one: another hundred patients would not
    have the same shares of classes, and F1 depends on them. Groups of different names are drawn
    independently, even if they are of one size.
    """
    names, patient = np.unique(patients, return_inverse=True)
    rng = stream(seed, "bootstrap", len(names), *([group] if group else []))
    main = main_classes(labels, patient, len(names))
    weights = np.zeros((draws, len(names)))
    _, sizes = np.unique(main, return_counts=True)
    for stratum, drawn in zip(np.unique(main), _stratum_sizes(sizes, draws, rng).T, strict=True):
        size = int((main == stratum).sum())
        weights[:, main == stratum] = rng.multinomial(drawn, np.full(size, 1 / size))
    return Draws(weights, patient)


def main_classes(labels: Labels, patient: NDArray[np.int64], n_patients: int) -> NDArray[np.int64]:
    """(patient,) the class that the fewest other patients show, of those that the patient shows.

    Patients without a class are one stratum, and those who are alone in theirs are another.
    """
    none, alone = labels.shape[1], labels.shape[1] + 1
    shows = np.zeros((n_patients, labels.shape[1]), dtype=bool)
    example, c = np.nonzero(labels == 1)
    shows[patient[example], c] = True
    main = np.full(n_patients, none)
    for column in np.argsort(-shows.sum(axis=0), kind="stable"):
        main[shows[:, column]] = column
    return np.where(np.bincount(main, minlength=none + 1)[main] == 1, alone, main)


def _stratum_sizes(
    sizes: NDArray[np.int64], draws: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(draw, stratum) how many patients are drawn of each; a draw without one is repeated."""
    drawn = rng.multinomial(sizes.sum(), sizes / sizes.sum(), size=draws)
    while (empty := (drawn == 0).any(axis=1)).any():
        drawn[empty] = rng.multinomial(sizes.sum(), sizes / sizes.sum(), size=int(empty.sum()))
    return np.asarray(drawn, dtype=np.int64)


def bootstrap_estimates(
    found: Scores,
    labels: Labels,
    p: Probs,
    predicted: NDArray[np.bool_],
    patients: NDArray[np.str_],
    seed: int,
    draws: int = 1000,
    *,
    group: str = "",
) -> dict[str, BootstrapEstimate]:
    """macro_f1 and macro_auroc of a group, whose scores are `found`, with their draws.

    The draws depend only on the seed, the group's name, its patients and their labels, so they
    are the same for every model.
    """
    columns = [c for c, name in enumerate(found.classes) if name in found.macro_classes]
    drawn = bootstrap_macro(
        labels, p, predicted, draw_patients(patients, labels, seed, draws, group=group), columns
    )
    counts = count_patients(labels, patients)
    rarer = np.minimum(counts.positive, counts.negative)[columns]
    freedom = float(rarer.mean()) - 1 if columns else 0.0
    return {
        name: BootstrapEstimate(getattr(found, name), values, float(rarer.sum()), freedom)
        for name, values in drawn.items()
    }


def bootstrap_macro(
    labels: Labels,
    p: Probs,
    predicted: NDArray[np.bool_],
    draws: Draws,
    columns: Sequence[int],
) -> dict[str, NDArray[np.float64]]:
    """macro_f1 and macro_auroc over the classes in `columns`, of each draw: (draw,) each.

    A draw that lacks a positive or a negative of one of them is nan as a whole: a mean over other
    classes would be another figure.
    """
    n_draws, n_patients = draws.weights.shape
    f1s, aurocs = [], []
    for c in columns:
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
        name: np.mean(columns, axis=0) if columns else np.full(n_draws, np.nan)
        for name, columns in (("macro_f1", f1s), ("macro_auroc", aurocs))
    }


def weighted_mean(
    parts: Sequence[BootstrapEstimate], weights: Sequence[float], *, paired: bool = False
) -> BootstrapEstimate:
    """The mean of those parts that can be measured, each drawn independently.

    If `paired`, the parts are several models on the same records, drawn together. Degrees of
    freedom of independent parts by Satterthwaite 1946, 10.2307/3002019.
    """
    known = [(one, w) for one, w in zip(parts, weights, strict=True) if one.value is not None]
    if not known:
        return BootstrapEstimate(None, np.full_like(parts[0].draws, np.nan))
    share = np.array([w for _, w in known]) / sum(w for _, w in known)
    value = float(share @ [one.value for one, _ in known])
    draws = sum(w * one.draws for w, (one, _) in zip(share, known, strict=True))
    patients, freedom = (
        np.array([getattr(one, name) for one, _ in known]) for name in ("patients", "freedom")
    )
    if paired:
        return BootstrapEstimate(value, draws, float(patients.min()), float(freedom.min()))
    variances = (share * [one.error or 0.0 for one, _ in known]) ** 2
    pooled = variances.sum() ** 2 / (variances**2 / freedom).sum() if variances.any() else 0.0
    return BootstrapEstimate(value, draws, float(patients.sum()), float(pooled))


def interval(found: BootstrapEstimate, n_patients: int) -> Interval:
    """95% interval of a figure from 0 to 1; (None, None) of fewer than MIN_INTERVAL_PATIENTS.

    Student's t on the scale of log-odds, where half a right and half a wrong patient are added
    (Haldane 1956, Anscombe 1956): of few patients, all right, the percentiles of the draws would
    be 1 to 1.
    """
    from scipy.special import expit, logit

    half = _half_width(found, n_patients)
    if half is None or found.value is None:
        return None, None
    middle = (found.patients * found.value + 0.5) / (found.patients + 1)
    ends = expit(logit(middle) + np.array([-1, 1]) * half / (middle * (1 - middle)))
    return min(float(ends[0]), found.value), max(float(ends[1]), found.value)


def difference_interval(found: BootstrapEstimate, n_patients: int) -> Interval:
    """95% interval of a difference by Student's t; (None, None) as of `interval`.

    It ends at -1 and 1: two measures between 0 and 1 cannot be further apart.
    """
    half = _half_width(found, n_patients)
    if half is None or found.value is None:
        return None, None
    return max(-1.0, found.value - half), min(1.0, found.value + half)


def p_value(found: BootstrapEstimate, n_patients: int) -> float | None:
    """Two-sided p of a difference, below 0.05 where its 95% interval leaves out zero."""
    from scipy.special import stdtr

    if n_patients < MIN_INTERVAL_PATIENTS or found.value is None or found.error is None:
        return None
    return float(2 * stdtr(found.freedom, -abs(found.value) / found.error))


def _half_width(found: BootstrapEstimate, n_patients: int) -> float | None:
    from scipy.special import stdtrit

    if n_patients < MIN_INTERVAL_PATIENTS or found.error is None:
        return None
    return float(stdtrit(found.freedom, 0.5 + CONFIDENCE / 2)) * found.error


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
