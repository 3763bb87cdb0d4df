"""Non-inferiority margins, which were written down before any run that they judge.

A training is not inferior to pooled training if the lower end of the 95% interval of its
difference is above minus the margin.
"""

from fl.config.run_config import POOLED

MARGINS = {"macro_auroc": 0.03, "macro_f1": 0.05}  # by name of METRICS
COMPARATOR = POOLED


def non_inferior(against: str, metric: str, low: float | None) -> bool | None:
    """Whether it is shown; None against another training, or without an interval."""
    if against != COMPARATOR or low is None:
        return None
    return low > -MARGINS[metric]
