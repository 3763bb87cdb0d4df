"""Is one training better than another, and how sure is that? A paired bootstrap by patient.

Both models are measured on the same records, and every bootstrap draw takes the same patients
for both. A patient who is hard for both models then does not widen the interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fl.evaluation.bootstrap import (
    CONFIDENCE,
    MIN_INTERVAL_PATIENTS,
    BootstrapEstimate,
    Interval,
    difference_interval,
    p_value,
)

METRICS = {"macro_f1": "macro-F1", "macro_auroc": "macro-AUROC"}
MIN_INTERVAL_SITES = MIN_INTERVAL_PATIENTS  # of a share of sites with an interval


@dataclass(frozen=True)
class Difference:
    """One training's measure minus another's, with its 95% interval and two-sided p."""

    value: float | None
    low: float | None
    high: float | None
    n_patients: int
    p_value: float | None = None


Estimates = Mapping[str, BootstrapEstimate]  # by name of METRICS


def difference(one: BootstrapEstimate, other: BootstrapEstimate, n_patients: int) -> Difference:
    """One minus the other; without an interval where there are too few patients."""
    gap = one - other
    low, high = difference_interval(gap, n_patients)
    return Difference(gap.value, low, high, n_patients, p_value(gap, n_patients))


def is_significant(found: Difference) -> bool:
    """Whether the whole interval lies on the same side of zero as the value."""
    if found.value is None or found.low is None or found.high is None:
        return False
    return found.low > 0 < found.value or found.high < 0 > found.value


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P values corrected for as many comparisons as there are: Holm 1979, jstor 4615733.

    The smallest is multiplied by their number n, the next by n - 1, and so on. Those that are
    None are no comparisons.
    """
    known = [i for i, p in enumerate(p_values) if p is not None]
    sizes = np.array([p for p in p_values if p is not None])
    order = np.argsort(sizes, kind="stable")
    steps = np.maximum.accumulate(sizes[order] * np.arange(len(sizes), 0, -1))
    corrected: list[float | None] = [None] * len(p_values)
    for place, p in zip(order.tolist(), np.minimum(steps, 1.0).tolist(), strict=True):
        corrected[known[place]] = p
    return corrected


def share_interval(n_above: int, n_sites: int) -> Interval:
    """Exact binomial 95% interval of a share of sites; (None, None) of too few sites."""
    from scipy.stats import binomtest

    if n_sites < MIN_INTERVAL_SITES:
        return None, None
    found = binomtest(n_above, n_sites).proportion_ci(CONFIDENCE, method="exact")
    return float(found.low), float(found.high)
