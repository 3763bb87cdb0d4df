"""Sentences that follow from a run's results, and numbers as the pages write them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fl.config.run_config import NOT_FEDERATED
from fl.evaluation.paired_bootstrap import METRICS
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.evaluation.strategy_names import strategy_name
from fl.reports.number_format import estimate, number
from fl.reports.pages.site_view import SiteView
from fl.reports.run_files import Run

FEW_PATIENTS = 30  # with fewer test patients, a recommendation says how few they are
COUNTS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Advice:
    """A recommendation: its headline, and the sentences it rests on."""

    headline: str
    because: tuple[str, ...]


def signed(value: float | None) -> str:
    """`+.080`, `-.012`, n/a."""
    if value is None:
        return "n/a"
    text = number(abs(value))
    return text if text == ".000" else f"{'+' if value > 0 else '-'}{text}"


def interval(row: ComparisonRow) -> str:
    """`+.080 [+.030, +.130]`"""
    if row.value is None:
        return "n/a"
    if row.low is None or row.high is None:
        return signed(row.value)
    return f"{signed(row.value)} [{signed(row.low)}, {signed(row.high)}]"


def percent(value: float | None) -> str:
    """`96%`"""
    return "n/a" if value is None else f"{100 * value:.0f}%"


def verdict(row: ComparisonRow | None) -> str:
    """`gain` or `loss` if the interval is on one side of zero, `none` if not; else `unknown`."""
    if row is None or row.value is None or row.low is None or row.high is None:
        return "unknown"
    # With few patients a percentile interval may lie on the other side of zero than its value.
    if row.low > 0 and row.value > 0:
        return "gain"
    return "loss" if row.high < 0 and row.value < 0 else "none"


def corrected(row: ComparisonRow) -> str:
    """`verdict` after the correction for many comparisons; `unknown` without a p-value."""
    if row.p_adjusted is None or row.value is None:
        return "unknown"
    if not row.significant_adjusted:
        return "none"
    return "gain" if row.value > 0 else "loss"


VERDICTS = {
    "gain": "evidence of a gain",
    "loss": "evidence of a loss",
    "none": "no evidence of a difference",
    "unknown": "inconclusive: too few patients for an interval",
}


def find(rows: Iterable[ComparisonRow], **wanted: str) -> ComparisonRow | None:
    """The first difference with these entries, or None."""
    return next((r for r in rows if all(getattr(r, k) == v for k, v in wanted.items())), None)


def question(run: Run) -> str:
    """The question that the run answers."""
    if run.comparison:
        return (
            "What does a hospital gain by joining the federation, compared with local training on "
            "its own records only? And how close does the federation come to pooled training, "
            "with all records in one place?"
        )
    return (
        "How well does one model, trained across hospitals that keep their recordings, do at each "
        "hospital and on patients of no hospital?"
    )


def details(run: Run) -> list[str]:
    """The comparison in sentences: every federated training, the main one first."""
    if not run.comparison:
        return [_level(run, run.main)]
    names = sorted(run.federated, key=lambda name: name != run.main)
    found = [sentence for name in names for sentence in against(run, name)]
    return [*found, *(_level(run, name) for name in names), INTERVALS]


def sites_above(run: Run) -> list[tuple[str, str, dict[str, str]]]:
    """Of each two trainings: their names, and by metric at how many hospitals the first is higher.

    `6 of 8`; from ten hospitals on with the 95% interval of the share.
    """
    counts: dict[tuple[str, str], dict[str, str]] = {}
    for row in run.comparison.sites_above if run.comparison else ():
        share = f"{row.n_above} of {row.n_sites}"
        if row.low is not None and row.high is not None:
            share += f" [{number(row.low)}, {number(row.high)}]"
        counts.setdefault((row.strategy, row.against), {})[row.metric] = share
    return [(*pair, found) for pair, found in counts.items()]


INTERVALS = (
    "Intervals are 95%, by paired bootstrap over patients. Of twenty comparisons without a true "
    "difference one is expected to show evidence of one: the table gives the evidence "
    "corrected for the number of hospitals (Holm) beside the plain one."
)


def _level(run: Run, name: str) -> str:
    """The macro-F1 of the strategy's model on each group of test records."""
    result = run.strategies[name]
    parts = []
    groups = ((result.central, "central patients"), (result.unseen, "the unseen source"))
    for group, where in groups:
        if group:
            parts.append(f"{estimate(group.macro_f1)} on {where}")
    if result.site_mean:
        parts.append(f"{number(result.site_mean.macro_f1)} on average over the hospitals")
    values = ", ".join(parts) or (
        "cannot be measured, because no group has both positive and negative records of a class"
    )
    return f"Macro-F1 of {strategy_name(name)} on test records: {values}."


def against(run: Run, name: str) -> list[str]:
    """What a federated strategy gains over local training and loses to pooled training."""
    sentences = []
    for other in NOT_FEDERATED:
        if other not in run.strategies or not any(
            row.strategy == name and row.against == other for row in run.differences
        ):
            continue
        mean = find(
            run.differences, strategy=name, against=other, where="mean_site", metric="macro_f1"
        )
        sentence = f"{strategy_name(name)} compared with {strategy_name(other)}, mean macro-F1 "
        sentence += "over the hospitals: "
        sentence += f"{interval(mean)}, {VERDICTS[verdict(mean)]}" if mean else "not measured"
        sentences.append(f"{sentence}.")
        sentences.append(_by_hospital(run, name, other))
    return sentences


def sites_compared(run: Run, name: str, other: str) -> list[ComparisonRow]:
    """The differences in macro-F1 at the hospitals where both trainings could be measured."""
    rows = {
        row.site: row
        for row in run.differences
        if (row.strategy, row.against, row.metric) == (name, other, "macro_f1")
    }
    return [row for s in run.sites if (row := rows.get(s)) and row.value is not None]


def _by_hospital(run: Run, name: str, other: str) -> str:
    """At how many hospitals the strategy is better, and at how many there is evidence of it."""
    known = sites_compared(run, name, other)
    higher = sum(row.value is not None and row.value > 0 for row in known)
    verdicts = [verdict(row) for row in known]
    gains, losses = verdicts.count("gain"), verdicts.count("loss")
    strategy, n_sites = strategy_name(name), len(run.sites)
    sentence = (
        f"{strategy}'s macro-F1 is higher than {strategy_name(other)}'s at {higher} of the "
        f"{len(known)} hospitals that can be measured."
    )
    if gains + losses == 0:
        return f"{sentence} The evidence is inconclusive at every hospital."
    rest = "; elsewhere it is inconclusive" if gains + losses < n_sites else ""
    return (
        f"{sentence} The evidence favours {strategy} at {in_words(gains)} and "
        f"{strategy_name(other)} at {in_words(losses)}{rest}."
    )


def in_words(count: int) -> str:
    """`none`, `one`, ... `ten`, `11`."""
    return COUNTS[count] if count < len(COUNTS) else str(count)


def advice(view: SiteView) -> Advice:
    """Whether this hospital should join, by the intervals of its own test patients."""
    if not view.compared:
        return Advice(
            "No recommendation: this run compares nothing",
            (
                "The run was made without --compare, so there is no local training to compare "
                "with, and what this hospital gains is not known.",
            ),
        )
    rows = [row for row in view.differences if row.strategy == view.main]
    f1 = find(rows, against="local", metric="macro_f1")
    auroc = find(rows, against="local", metric="macro_auroc")
    because = [_because(view, row) for row in (f1, auroc) if row]
    pooled = find(rows, against="pooled", metric="macro_f1")
    if pooled:
        because.append(_pooled(view, pooled))
    few = min((row.n_patients for row in rows if row.n_patients), default=None)
    if few is not None and few < FEW_PATIENTS:
        because.append(
            f"Only {few} test patients of this hospital were measured: with more patients the "
            "answer would be more certain."
        )
    return Advice(HEADLINES[verdict(f1), verdict(auroc)], tuple(because))


_JOIN = "Join: there is evidence of a gain"
_STAY = "Do not join on these results: there is evidence of a loss"
_MIXED = "The evidence is mixed: decisions (F1) and ranking (AUROC) point in opposite directions"
_BETTER_RANKING = "There is evidence of better ranking (AUROC), but none of better decisions (F1)"
_WORSE_RANKING = "There is evidence of worse ranking (AUROC), but none of worse decisions (F1)"
_NONE = "There is no evidence of a gain, and none of a loss"
_UNKNOWN = "Inconclusive: this hospital has too few test patients for an interval"
HEADLINES = {
    ("gain", "gain"): _JOIN,
    ("gain", "none"): _JOIN,
    ("gain", "unknown"): _JOIN,
    ("gain", "loss"): _MIXED,
    ("loss", "gain"): _MIXED,
    ("loss", "none"): _STAY,
    ("loss", "loss"): _STAY,
    ("loss", "unknown"): _STAY,
    ("none", "gain"): _BETTER_RANKING,
    ("none", "loss"): _WORSE_RANKING,
    ("none", "none"): _NONE,
    ("none", "unknown"): _NONE,
    ("unknown", "gain"): _BETTER_RANKING,
    ("unknown", "loss"): _WORSE_RANKING,
    ("unknown", "none"): _NONE,
    ("unknown", "unknown"): _UNKNOWN,
}


def _because(view: SiteView, row: ComparisonRow) -> str:
    return (
        f"{strategy_name(view.main)} compared with local training (this hospital's own model), "
        f"{METRICS[row.metric]}: {interval(row)}, {VERDICTS[verdict(row)]}."
    )


def _pooled(view: SiteView, row: ComparisonRow) -> str:
    """Whether pooled training would give this hospital more than the federation."""
    strategy = strategy_name(view.main)
    conclusion = {
        "gain": f"there is evidence that {strategy} does better at this hospital",
        "loss": "there is evidence that pooled training does better at this hospital",
        "none": VERDICTS["none"],
        "unknown": VERDICTS["unknown"],
    }[verdict(row)]
    return (
        f"{strategy} compared with pooled training (all records in one place), "
        f"{METRICS[row.metric]}: {interval(row)}, {conclusion}."
    )


CORRECTED = {"gain": "gain", "loss": "loss", "none": "no evidence", "unknown": "n/a"}
MARGIN = {True: "yes", False: "not shown", None: "n/a"}


def table_of(rows: Sequence[ComparisonRow]) -> list[dict[str, Any]]:
    """Differences with the texts of their cells, for a table."""
    return [
        row.to_json()
        | {"text": interval(row), "verdict": VERDICTS[verdict(row)], "kind": verdict(row)}
        | {"corrected": CORRECTED[corrected(row)], "margin": MARGIN[row.non_inferior]}
        | {"name": METRICS.get(row.metric, row.metric), "place": place(row.where)}
        for row in rows
        if row.where != "worst_site"
    ]


def place(where: str) -> str:
    """The test records that a figure was measured on, in words."""
    known = {
        "central": "central records",
        "unseen": "unseen source",
        "mean_site": "mean over hospitals",
        "worst_site": "worst hospital",
        "spread": "standard deviation over hospitals",
    }
    return known.get(where, where.removeprefix("site:"))
