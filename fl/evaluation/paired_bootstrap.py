"""Is one training better than another, and how sure is that? A paired bootstrap by patient.

Both models are measured on the same records, and every bootstrap draw takes the same patients
for both. A patient who is hard for both models then does not widen the interval.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.bootstrap import bootstrap_macro, draw_patients, interval
from fl.evaluation.metrics import Labels, Probs, scores

METRICS = {"macro_f1": "macro-F1", "macro_auroc": "macro-AUROC"}
MIN_PATIENTS = 10  # of a group with an interval: a handful of people represents nobody else


@dataclass(frozen=True)
class BootstrapEstimate:
    """One measure of one model on one group of records, and of every bootstrap draw of it."""

    value: float | None  # None: no class of the group can be measured
    draws: NDArray[np.float64]  # (draw,); nan where a draw can measure no class


@dataclass(frozen=True)
class Difference:
    """One training's measure minus another's, with the middle 95% of the draws."""

    value: float | None
    low: float | None
    high: float | None
    n_patients: int


Estimates = Mapping[str, BootstrapEstimate]  # by name of METRICS


def bootstrap_estimates(
    labels: Labels,
    p: Probs,
    predicted: NDArray[np.bool_],
    patients: NDArray[np.str_],
    group: str,
    seed: int,
    draws: int = 1000,
) -> dict[str, BootstrapEstimate]:
    """A model's measures on a group, by metric.

    The draws depend only on the seed, the group's name and its patients, so they are the same
    for every model. Macro averages are over the classes that the group, or the draw, can measure.
    """
    classes = [str(c) for c in range(labels.shape[1])]
    found = scores(labels, p, predicted, classes)
    drawn = bootstrap_macro(labels, p, predicted, draw_patients(patients, seed, draws, group=group))
    return {name: BootstrapEstimate(getattr(found, name), drawn[name]) for name in METRICS}


def mean_estimate(parts: Sequence[BootstrapEstimate]) -> BootstrapEstimate:
    """The mean of several models on the same records, or of sites that are drawn independently."""
    return _over(parts, np.nanmean)


def worst_estimate(parts: Sequence[BootstrapEstimate]) -> BootstrapEstimate:
    """The lowest of several sites; it may be a different site in each draw."""
    return _over(parts, np.nanmin)


def _over(parts: Sequence[BootstrapEstimate], reduce: Callable[..., Any]) -> BootstrapEstimate:
    """Reduce several figures to one: their values, and each draw, where they are measured."""
    known = [part.value for part in parts if part.value is not None]
    stacked = np.stack([part.draws for part in parts])
    none = np.isnan(stacked).all(axis=0)
    draws = np.where(none, np.nan, reduce(np.where(none, 0.0, stacked), axis=0))
    return BootstrapEstimate(float(reduce(np.array(known))) if known else None, draws)


def difference(one: BootstrapEstimate, other: BootstrapEstimate, n_patients: int) -> Difference:
    """One minus the other; without an interval where there are too few patients."""
    if one.value is None or other.value is None:
        return Difference(None, None, None, n_patients)
    few = n_patients < MIN_PATIENTS
    low, high = (None, None) if few else interval(one.draws - other.draws)
    return Difference(one.value - other.value, low, high, n_patients)


def is_significant(found: Difference) -> bool:
    """Whether the whole interval lies on the same side of zero as the value."""
    if found.value is None or found.low is None or found.high is None:
        return False
    return found.low > 0 < found.value or found.high < 0 > found.value
