"""A comparison on the terminal: the trainings side by side, and their differences in sentences."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.paired_bootstrap import is_significant
from fl.evaluation.seed_summary import SeedSummary, Spread
from fl.evaluation.strategy_comparison import Comparison, ComparisonRow
from fl.evaluation.strategy_names import strategy_name, strategy_note
from fl.reports.number_format import estimate, number
from fl.reports.shown_sites import MOST, not_shown, shown_sites
from fl.runs.results import RunSummary, WorstSite

HOW_TO_READ = (
    "Results on test records; [low, high] are 95% intervals by bootstrap over patients. local: "
    "local training, each site's own model on the site's own records; on other records the mean "
    "of these models. pooled: one model trained on all records in one place. Best rounds and "
    "thresholds were chosen on validation records."
)


def print_comparison(console: Console, summary: RunSummary, comparison: Comparison) -> None:
    """A table with one column per training, then the differences in sentences."""
    console.print(comparison_table(summary))
    console.print(HOW_TO_READ)
    for note in filter(None, map(strategy_note, summary.strategies)):
        console.print(note)
    steps = comparison.budget.steps
    console.print("Gradient steps: " + ", ".join(f"{k} {n}" for k, n in steps.items()) + ".")
    for line in main_sentences(comparison.differences):
        console.print(line)


def comparison_table(summary: RunSummary) -> Table:
    """Macro-F1 on central and unseen records, over the sites and at every site."""
    results = summary.strategies
    title = "SYNTHETIC DATA. " if summary.synthetic else ""
    table = Table(title=f"{title}macro-F1", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("patients", justify="right", no_wrap=True)
    for name in results:
        table.add_column(name, justify="right")

    def measured(name: str, found: Sequence[GroupMeasures | None]) -> None:
        one = next((m for m in found if m), None)
        table.add_row(name, str(one.n_patients) if one else "", *map(_cell, found))

    def add(name: str, cells: Sequence[str]) -> None:
        table.add_row(name, "", *cells)

    columns = list(results.values())
    measured("central", [r.central for r in columns])
    if any(r.unseen for r in columns):
        measured("unseen", [r.unseen for r in columns])
    add("mean of sites", [number(r.site_mean.macro_f1 if r.site_mean else None) for r in columns])
    add("worst site", [_worst(r.worst_site) for r in columns])
    add("spread (sd)", [number(r.spread.macro_f1_sd if r.spread else None) for r in columns])
    table.add_section()
    patients = {
        site: one.n_patients if one else 0 for r in columns for site, one in r.sites.items()
    }
    shown = shown_sites(patients)
    for site in shown:
        measured(site, [r.sites.get(site) for r in columns])
    if more := not_shown(len(shown), len(patients)):
        table.caption = f"{more}; summary.json has them."
    return table


def main_sentences(differences: Sequence[ComparisonRow]) -> Iterator[str]:
    """Sentences on macro-F1: one for each group, and for each site with a significant difference.

    The other sites are listed together; summary.json has a sentence for each of them.
    """
    f1 = [row for row in differences if row.metric == "macro_f1"]
    for pair in dict.fromkeys((row.strategy, row.against) for row in f1):
        rows = [row for row in f1 if (row.strategy, row.against) == pair]
        at_sites = [row for row in rows if row.site]
        yield from (f"  {row.sentence}" for row in rows if row not in at_sites)
        yield from (f"  {row.sentence}" for row in at_sites if is_significant(row.difference))
        strategy, against = map(strategy_name, pair)
        for verdict, chosen in (
            ("no evidence of a difference", [r for r in at_sites if _inconclusive(r)]),
            ("too few test patients for an interval", [r for r in at_sites if r.low is None]),
        ):
            if chosen:
                names = ", ".join(str(r.site) for r in chosen)
                at = names if len(chosen) <= MOST else f"{len(chosen):,} sites"
                yield f"  {strategy} compared with {against}, {verdict}: {at}."


def _inconclusive(row: ComparisonRow) -> bool:
    return row.low is not None and not is_significant(row.difference)


def print_seeds(console: Console, summary: SeedSummary, synthetic: Sequence[str]) -> None:
    """Mean over the seeds, with the lowest and the highest value."""
    title = "SYNTHETIC DATA. " if synthetic else ""
    seeds = ", ".join(map(str, summary.seeds))
    title += f"macro-F1, mean over seeds {seeds} (lowest to highest)"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in summary.strategies:
        table.add_column(name, justify="right")
    for where, name in (
        ("central", "central"),
        ("unseen", "unseen"),
        ("mean_site", "mean of sites"),
        ("worst_site", "worst site"),
        ("spread", "spread (sd)"),
    ):
        cells = [s[where]["macro_f1"] if where in s else None for s in summary.strategies.values()]
        table.add_row(name, *[_mean_and_range(cell) for cell in cells])
    console.print(table)
    for row in summary.differences:
        if row.metric == "macro_f1" and not row.where.startswith("site:"):
            console.print(f"  {row.sentence}")


def _mean_and_range(found: Spread | None) -> str:
    if found is None or found.mean is None:
        return "n/a"
    return f"{number(found.mean)} ({number(found.low_seed)} to {number(found.high_seed)})"


def _cell(scores: GroupMeasures | None) -> str:
    return estimate(scores.macro_f1) if scores else "n/a"


def _worst(found: WorstSite | None) -> str:
    return f"{number(found.macro_f1)} {found.site}" if found else "n/a"
