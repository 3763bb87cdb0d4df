"""What a terminal shows: a live view or plain lines while a run works, tables at its end."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from fl.config import LOCAL, POOLED
from fl.reports.numbers import estimate, number
from fl.reports.sidebyside import print_comparison

Row = Mapping[str, Any]
NOTICE = "SYNTHETIC DATA: no patient stands behind these figures. They say nothing about medicine."


def synthetic_notice(names: Sequence[str]) -> Panel:
    """The notice that no run on synthetic data is shown without."""
    text = Text(f"{NOTICE}\nSources: {', '.join(names)}", justify="center")
    return Panel(text, style="bold white on red")


class PlainView:
    """One line per round, and one per failure: for pipes and log files."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console, self.quiet, self.rounds = console, quiet, 0

    def training(self, strategy: str, rounds: int, sites: Sequence[Any]) -> None:
        self.rounds = rounds
        if not self.quiet:
            held = ", ".join(f"{s.site}: {s.n_train}" for s in sites)
            self.console.print(f"{strategy}: {rounds} rounds; training records {held}")

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        if doing == "failed":
            self.console.print(f"round {round_number}: {site} is left out: {note}")

    def round(self, row: Row) -> None:
        if not self.quiet:
            name = "pooled, " if row["strategy"] == POOLED else ""
            self.console.print(f"{name}round {row['round']:>3}/{self.rounds}  {round_text(row)}")

    def alone(self, site: str, row: Row, last: bool) -> None:
        if last and not self.quiet:
            self.console.print(f"{site} alone, round {row['round']:>3}  {round_text(row)}")

    def close(self) -> None:
        """Nothing to put away."""


def round_text(row: Row) -> str:
    """The figures of one round."""
    failures = f"  failures {row['failures']}" if row["failures"] else ""
    return (
        f"loss {number(row['train_loss'])}  validation: loss {number(row['val_loss'])} "
        f"macro-F1 {number(row['central_macro_f1'])} "
        f"macro-AUROC {number(row['central_macro_auroc'])}  {row['seconds']:.1f} s{failures}"
    )


class LiveView(PlainView):
    """A bar for the rounds and one line per site, redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self.live = Live(console=console, refresh_per_second=4, transient=True)
        self.sites: dict[str, str] = {}
        self.tasks: dict[str, TaskID] = {}  # bar of each training

    def training(self, strategy: str, rounds: int, sites: Sequence[Any]) -> None:
        super().training(strategy, rounds, sites)
        total = rounds * len(sites) if strategy == LOCAL else rounds
        self.tasks[strategy] = self.bar.add_task(strategy, total=total)
        # Each site alone and all as one go on at the same time: their lines stay together.
        kept = self.sites if strategy == POOLED else {}
        self.sites = kept | {s.site: f"{s.n_train} training records" for s in sites}
        self.live.start()
        self._draw()

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        super().site(round_number, site, doing, note)
        done = {"train": "trained", "val": "validated", "test": "tested"}.get(doing, "failed")
        self.sites[site] = f"round {round_number}: {done} {note}"
        self._draw()

    def round(self, row: Row) -> None:
        super().round(row)
        if row["strategy"] == POOLED:
            self.sites[POOLED] = f"round {row['round']}: trained and validated"
        self.bar.update(self.tasks[row["strategy"]], completed=row["round"])
        self._draw()

    def alone(self, site: str, row: Row, last: bool) -> None:
        super().alone(site, row, last)
        self.sites[site] = f"round {row['round']}: trained and validated, alone"
        self.bar.advance(self.tasks[LOCAL])
        self._draw()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.live.stop()

    def _draw(self) -> None:
        table = Table.grid(padding=(0, 2))
        for site, text in sorted(self.sites.items()):
            table.add_row(site, text)
        self.live.update(Group(table, self.bar))


def make_view(console: Console, quiet: bool) -> PlainView:
    """Live on a terminal, plain lines elsewhere, nothing but failures when quiet."""
    if quiet or not console.is_terminal:
        return PlainView(console, quiet)
    return LiveView(console)


class Steps:
    """Progress of preprocessing: a bar on a terminal, a line per source elsewhere."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self.console, self.quiet = console, quiet
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self.tasks: dict[str, Any] = {}
        self.began = time.monotonic()

    def __enter__(self) -> "Steps":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, source: str, done: int, total: int) -> None:
        """`done` of `total` records of a source are preprocessed."""
        if source not in self.tasks:
            self.tasks[source] = self.bar.add_task(f"preprocessing {source}", total=total)
        self.bar.update(self.tasks[source], completed=done)
        if done == total and not self.quiet and not self.console.is_terminal:
            self.console.print(f"preprocessed {source}: {total} records")


def partition_table(rows: Sequence[Row], classes: Sequence[str]) -> Table:
    """What each site holds."""
    title = "Records per site, and how many show each class"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("site", no_wrap=True)
    table.add_column("source")
    for name in ("patients", "train", "val", "test", *classes):
        table.add_column(name, justify="right")
    for row in rows:
        counts = [str(row["labels"][c]) if row["labels"][c] else "-" for c in classes]
        held = [str(row[k]) for k in ("patients", "train", "val", "test")]
        table.add_row(row["site"], ", ".join(row["sources"]), *held, *counts)
    return table


def non_iid_line(apart: float | None) -> str:
    """How far the sites' label mixes are apart."""
    return (
        f"Label mix between sites: mean Jensen-Shannon distance {number(apart)} "
        "(0: alike, 1: no class in common)"
    )


def device_line(site: str, faults: Row) -> str:
    """What a site's recorder does to its signals."""
    said = [
        text.format(faults[name], mains=faults.get("mains"))
        for name, text in (
            ("muscle", "muscle noise {:g} sd"),
            ("hum", "{mains:g} Hz hum {:g} sd"),
            ("rails", "saturates at {:g} sd"),
            ("rate", "records at {:g} Hz"),
        )
        if name in faults
    ]
    if faults.get("lost"):
        said.append(f"without {' '.join(faults['lost'])}")
    return f"{site} records with: {'; '.join(said)}"


def result_table(strategy: str, result: Row, classes: Sequence[str], synthetic: bool) -> Table:
    """Sites down, measures across; then mean, spread, worst site, central and unseen."""
    title = f"{strategy}: test, weights of round {result['best_round']} (best on validation)"
    if synthetic:
        title = f"SYNTHETIC DATA. {title}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("records", "macro-F1", "macro-AUROC", "accuracy", "classes"):
        table.add_column(name, justify="right", no_wrap=True)

    def add(name: str, scores: Row | None, style: str = "") -> None:
        if not scores:
            table.add_row(name, "0", *["n/a"] * 4, style=style)
            return
        table.add_row(
            name,
            str(scores["n_records"]),
            estimate(scores["macro_f1"]),
            estimate(scores["macro_auroc"]),
            number(scores["accuracy"]),
            f"{len(scores['macro_classes'])} of {len(classes)}",
            style=style,
        )

    for site, scores in sorted(result["sites"].items()):
        add(site, scores)
    table.add_section()
    if result["worst_site"]:
        mean, worst, spread = result["site_mean"], result["worst_site"], result["spread"]
        table.add_row("mean of sites", "", number(mean["macro_f1"]), number(mean["macro_auroc"]))
        table.add_row("spread (sd)", "", number(spread["macro_f1_sd"]))
        table.add_row(f"worst: {worst['site']}", "", number(worst["macro_f1"]))
        table.add_section()
    for source, scores in result.get("central_by_source", {}).items():
        add(f"central {source}", scores)
    add("central, all", result["central"], style="bold")
    if result["unseen"]:
        add("unseen", result["unseen"], style="bold")
    return table


def result_notes(result: Row, classes: Sequence[str]) -> str:
    """How to read the table, and which classes each line could not measure."""
    lines = [
        "[low, high]: 95% by bootstrap over patients. Macro averages are over the classes that",
        "the line can measure. Accuracy is the mean one-vs-rest accuracy: high for rare classes",
        "whatever the model does.",
    ]
    groups = {**result["sites"], "central": result["central"], "unseen": result["unseen"]}
    for name, scores in sorted(groups.items()):
        missing = [c for c in classes if scores and c not in scores["macro_classes"]]
        if missing:
            lines.append(f"  {name} cannot measure {', '.join(missing)}")
    return "\n".join(lines)


def class_table(title: str, scores: Row) -> Table:
    """Per class: counts, precision, recall, F1 and AUROC."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("class", "positive", "of", "precision", "recall", "F1", "AUROC"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for name, row in scores["classes"].items():
        figures = [number(row[k]) for k in ("precision", "recall", "f1", "auroc")]
        table.add_row(name, str(row["positive"]), str(row["n"]), *figures)
    return table


def print_results(console: Console, summary: Row, synthetic: Sequence[str]) -> None:
    """The tables at the end of a run; the synthetic notice once more where it applies.

    A comparison puts its trainings side by side instead of one table for each.
    """
    classes = summary["classes"]
    compared = "comparison" in summary
    if compared:
        print_comparison(console, summary)
    for name, result in () if compared else summary["strategies"].items():
        console.print(result_table(name, result, classes, bool(synthetic)))
        console.print(result_notes(result, classes))
        if result["central"]:
            title = "Central test, per class"
            title = f"SYNTHETIC DATA. {title}" if synthetic else title
            console.print(class_table(title, result["central"]))
    if synthetic:
        console.print(synthetic_notice(synthetic))


def left_out(data: Sequence[Row]) -> str:
    """One line: how many records were used, and those that were not, by source and verdict."""
    used = sum(source["recordings"] for source in data)
    parts = []
    for source in data:
        verdicts = [f"{len(names)} {v}" for v, names in sorted(source["excluded"].items())]
        if verdicts:
            parts.append(f"{source['source']} {', '.join(verdicts)}")
    told = f"; left out: {'; '.join(parts)} (run.json names each)" if parts else ", none left out"
    return f"Records: {used} used{told}."
