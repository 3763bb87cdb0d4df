"""A difference between two trainings as a sentence that follows from its interval."""

from collections.abc import Mapping
from typing import Any

from fl.evaluation.paired_bootstrap import METRICS, Difference, is_significant


def difference_sentence(
    strategy: str, against: str, where: str, metric: str, found: Difference
) -> str:
    """The difference in plain words, which follow from its interval."""
    place, other = _place(where), _NAMES[against]
    if found.value is None:
        return (
            f"{strategy} and {other} cannot be compared {place} in {METRICS[metric]}: no class "
            "there has both a positive and a negative record."
        )
    size = f"{signed(found.value)} {METRICS[metric]}"
    if found.low is None or found.high is None:
        return (
            f"Too few test patients {place} ({found.n_patients}) for an interval: {strategy} "
            f"against {other} {size}."
        )
    size += f" [{signed(found.low, plus='')}, {signed(found.high, plus='')}]"
    if not is_significant(found):
        return f"No evidence of a difference between {strategy} and {other} {place}: {size}."
    verb = "gains" if found.value > 0 else "loses"
    if where.startswith("site:"):
        return f"{strategy} {verb} {where.removeprefix('site:')} {size} against {other}."
    return f"{strategy} {verb} {size} {place} against {other}."


def signed(value: float, plus: str = "+") -> str:
    """`+.081`, `-.010`, `.000`."""
    text = f"{abs(value):.3f}"
    text = text[1:] if text.startswith("0.") else text
    if float(text) == 0:
        return text
    return f"{'-' if value < 0 else plus}{text}"


_NAMES = {"local": "training alone", "pooled": "pooled training"}
_PLACES = {
    "central": "on the central test records",
    "unseen": "on the unseen records",
    "mean_site": "in the mean over the sites",
    "worst_site": "at the worst site",
}


def _place(where: str) -> str:
    return _PLACES.get(where) or f"at {where.removeprefix('site:')}"


def seeds_sentence(
    strategy: str, against: str, where: str, metric: str, facts: Mapping[str, Any]
) -> str:
    """The difference over several seeds in plain words, which follow from whether they agree."""
    place, other = _place(where), _NAMES[against]
    values = [value for value in facts["values"] if value is not None]
    if not values:
        return f"{strategy} and {other} cannot be compared {place} in {METRICS[metric]}."
    size = (
        f"{signed(facts['mean'])} {METRICS[metric]} ({signed(facts['low_seed'])} to "
        f"{signed(facts['high_seed'])}, seeds: {len(values)})"
    )
    if facts["low_seed"] <= 0 <= facts["high_seed"]:
        both = f"{strategy} and {other}"
        return f"No difference in which all seeds agree between {both} {place}: {size}."
    verb = "gains" if facts["mean"] > 0 else "loses"
    return f"{strategy} {verb} {size} {place} against {other}."
