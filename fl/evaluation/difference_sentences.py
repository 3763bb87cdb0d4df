"""A difference between two trainings as a sentence that follows from its interval."""

import statistics
from collections.abc import Sequence

from fl.evaluation.margins import MARGINS, non_inferior
from fl.evaluation.metrics import MIN_MACRO_PATIENTS
from fl.evaluation.paired_bootstrap import METRICS, Difference, is_significant
from fl.evaluation.strategy_names import strategy_name

_PLACES = {
    "central": "On the central test records",
    "unseen": "On the unseen records",
    "mean_site": "Averaged over the sites",
}


def difference_sentence(
    strategy: str, against: str, where: str, metric: str, found: Difference
) -> str:
    """The difference in plain words, which follow from its interval."""
    one, other = strategy_name(strategy), strategy_name(against)
    place, measure = _place(where), METRICS[metric]
    if found.value is None:
        return (
            f"{place}, {one} and {other} cannot be compared in {measure}: no class has "
            f"{MIN_MACRO_PATIENTS} patients with it and as many without it."
        )
    compared = f"{one}'s {measure} is {_size(found.value)} than {other}"
    if found.low is None or found.high is None:
        return (
            f"{place}, too few test patients ({found.n_patients}) for a confidence interval: "
            f"{compared}."
        )
    if is_significant(found):
        sentence = f"{place}, {compared} (95% CI {_range(found.low, found.high)})."
    else:
        sentence = (
            f"{place}, there is no evidence of a difference between {one} and {other}: {measure} "
            f"{signed(found.value)} (95% CI {signed(found.low)} to {signed(found.high)})."
        )
    return sentence + _verdict(against, metric, found.low)


def _verdict(against: str, metric: str, low: float) -> str:
    """Whether it is not inferior, as a sentence of its own; nothing where that is not asked."""
    shown = non_inferior(against, metric, low)
    if shown is None:
        return ""
    margin = signed(MARGINS[metric], plus="")
    known = "It is" if shown else "It is not shown to be"
    return f" {known} non-inferior to {strategy_name(against)} at the margin of {margin}."


def sites_above_sentence(
    strategy: str, against: str, metric: str, counts: Sequence[tuple[int, int]]
) -> str:
    """At how many of how many sites a training is better; `counts` are of one or several seeds."""
    one, other = strategy_name(strategy), strategy_name(against)
    shares = [f"{n_above} of {n_sites}" for n_above, n_sites in counts]
    seeds = " sites" if len(counts) == 1 else f" sites (by seed, {len(counts)} seeds)"
    return f"{one}'s {METRICS[metric]} is higher than {other} at {', '.join(shares)}{seeds}."


def seeds_sentence(
    strategy: str, against: str, where: str, metric: str, values: Sequence[float | None]
) -> str:
    """The difference of each of several seeds in plain words, which follow from their signs."""
    one, other = strategy_name(strategy), strategy_name(against)
    place, measure = _place(where), METRICS[metric]
    known = [value for value in values if value is not None]
    if not known:
        return f"{place}, {one} and {other} cannot be compared in {measure}."
    mean, low, high = statistics.fmean(known), min(known), max(known)
    seeds = f"mean of {len(known)} seed{'' if len(known) == 1 else 's'}"
    if low <= 0 <= high:
        return (
            f"{place}, the seeds do not agree on a difference between {one} and {other}: {measure} "
            f"{signed(mean)} ({seeds}, {signed(low)} to {signed(high)})."
        )
    return (
        f"{place}, {one}'s {measure} is {_size(mean)} than {other} ({seeds}, {_range(low, high)})."
    )


def signed(value: float, plus: str = "+") -> str:
    """`+.081`, `-.010`, `.000`."""
    text = f"{abs(value):.3f}"
    text = text[1:] if text.startswith("0.") else text
    if float(text) == 0:
        return text
    return f"{'-' if value < 0 else plus}{text}"


def _size(value: float) -> str:
    """`.081 higher`, `.010 lower`."""
    return f"{signed(abs(value), plus='')} {'higher' if value >= 0 else 'lower'}"


def _range(low: float, high: float) -> str:
    """`.030 to .131 higher`, `.011 to .090 lower`, of an interval on one side of zero."""
    near, far = sorted((abs(low), abs(high)))
    return f"{signed(near, plus='')} to {_size(far if low >= 0 else -far)}"


def _place(where: str) -> str:
    return _PLACES.get(where) or f"At {where.removeprefix('site:')}"
