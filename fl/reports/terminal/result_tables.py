"""The tables that a run prints at its end."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from fl.evaluation.group_evaluation import GroupMeasures
from fl.reports.number_format import estimate, number
from fl.reports.shown_sites import not_shown, shown_sites
from fl.reports.terminal.comparison_tables import print_comparison
from fl.reports.terminal.notices import synthetic_notice
from fl.reports.units import EXAMPLES, RECORDS, UnitAt, counted, no_unit
from fl.runs.results import RunSummary, TrainingSummary


def result_table(
    strategy: str, result: TrainingSummary, classes: Sequence[str], synthetic: bool
) -> Table:
    """A row per site; then their mean, spread and worst site, central and unseen records."""
    title = f"{strategy}: test, weights of {result.chosen} ({result.chosen_how})"
    if result.best_round_by_fold:
        title = f"{strategy}: test of {len(result.best_round_by_fold)} folds together"
    if synthetic:
        title = f"SYNTHETIC DATA. {title}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("patients", "n", "macro-F1", "macro-AUROC", "accuracy", "classes"):
        table.add_column(name, justify="right", no_wrap=True)

    def add(name: str, scores: GroupMeasures | None, style: str = "") -> None:
        if not scores:
            table.add_row(name, "0", "0", *["n/a"] * 4, style=style)
            return
        table.add_row(
            name,
            str(scores.n_patients),
            str(scores.n_records),
            estimate(scores.macro_f1),
            estimate(scores.macro_auroc),
            number(scores.accuracy),
            f"{len(scores.macro_classes)} of {len(classes)}",
            style=style,
        )

    shown = shown_results(result)
    for site in shown:
        add(site, result.sites[site])
    if more := not_shown(len(shown), len(result.sites)):
        table.caption = f"{more}; summary.json has them."
    table.add_section()
    mean, worst, spread = result.site_mean, result.worst_site, result.spread
    if mean and worst and spread:
        table.add_row("mean of sites", "", "", number(mean.macro_f1), number(mean.macro_auroc))
        table.add_row("spread (sd)", "", "", number(spread.macro_f1_sd))
        table.add_row(f"worst: {worst.site}", "", "", number(worst.macro_f1))
        table.add_section()
    for source, scores in result.central_by_source.items():
        add(f"central {source}", scores)
    add("central, all", result.central, style="bold")
    if result.unseen:
        add("unseen", result.unseen, style="bold")
    return table


def shown_results(result: TrainingSummary) -> tuple[str, ...]:
    """The sites that tables name: all, or of very many those with the most test patients."""
    return shown_sites({site: one.n_patients if one else 0 for site, one in result.sites.items()})


def result_notes(result: TrainingSummary, classes: Sequence[str], unit_at: UnitAt = no_unit) -> str:
    """How to read the table, what n counts, and which classes could not be measured where."""
    lines = [
        "[low, high] are 95% intervals by bootstrap over patients. A macro average is over the",
        "classes that can be measured on the row's records. Accuracy is one-vs-rest accuracy,",
        "averaged over the classes: for rare classes it is high whatever the model does.",
        *size_notes(result, unit_at),
    ]
    groups = {site: result.sites[site] for site in shown_results(result)}
    groups |= {"central": result.central, "unseen": result.unseen}
    for name, scores in sorted(groups.items()):
        missing = [c for c in classes if scores and c not in scores.macro_classes]
        if missing:
            lines.append(f"  not measurable in {name}: {', '.join(missing)}")
    return "\n".join(lines)


def size_notes(result: TrainingSummary, unit_at: UnitAt) -> Iterator[str]:
    """The groups whose rows are not records, each with its number of patients."""
    groups = {site: result.sites[site] for site in shown_results(result)}
    groups |= result.central_by_source
    groups |= {"central": result.central, "unseen": result.unseen}
    for name, scores in groups.items():
        if scores and unit_at(name) not in (RECORDS, EXAMPLES):
            yield f"  {name}: {counted(scores.n_records, unit_at(name), scores.n_patients)}"


def class_table(title: str, scores: GroupMeasures) -> Table:
    """Per class: counts, precision, recall, specificity, F1, average precision and AUROC."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    measures = ("precision", "recall", "specificity", "F1", "AUPRC", "AUROC")
    for name in ("class", "positive", "of", *measures):
        table.add_column(name, justify="left" if name == "class" else "right")
    for name, row in scores.classes.items():
        specificity = getattr(row, "specificity", None)
        found = (row.precision, row.recall, specificity, row.f1, row.auprc, row.auroc)
        figures = [number(value) for value in found]
        table.add_row(name, str(row.positive), str(row.n), *figures)
    return table


def print_results(
    console: Console, summary: RunSummary, synthetic: Sequence[str], unit_at: UnitAt = no_unit
) -> None:
    """The tables at the end of a run, and the synthetic notice again where it applies.

    A comparison has one table with its trainings side by side, any other run one for each.
    `unit_at` names what was counted at a site, on central or unseen records, or of a source.
    """
    classes = summary.classes
    comparison = summary.comparison
    if comparison:
        print_comparison(console, summary, comparison)
        for line in size_notes(summary.strategies[list(summary.strategies)[-1]], unit_at):
            console.print(line)
    for name, result in () if comparison else summary.strategies.items():
        console.print(result_table(name, result, classes, bool(synthetic)))
        console.print(result_notes(result, classes, unit_at))
        if result.central:
            title = "Central test, per class"
            title = f"SYNTHETIC DATA. {title}" if synthetic else title
            console.print(class_table(title, result.central))
    if synthetic:
        console.print(synthetic_notice(synthetic))
