"""Runs as terminal tables: a list of them, several side by side, and one run's results again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fl.ecg.tasks import TASKS
from fl.reports.number_format import number
from fl.reports.terminal.comparison_tables import print_seeds
from fl.reports.terminal.notices import synthetic_notice
from fl.reports.terminal.partition_tables import fold_lines, left_out, partition_table
from fl.reports.terminal.result_tables import print_results
from fl.reports.units import units_in
from fl.runs.bounded_files import read_json
from fl.runs.overview import PLACES, RunOverview, Score, differing_settings
from fl.runs.results import read_seeds, read_summary
from fl.runs.run_state import COMPLETED, CONTINUABLE, command_of, resume_line


def runs_table(runs: Sequence[RunOverview]) -> Table:
    """One line for each run: when, how it ended, what it trained, and its macro-F1."""
    table = _table("")
    for name in ("run", "started (UTC)", "status", "task", "trained"):
        table.add_column(name, no_wrap=name != "trained")
    table.add_column("central macro-F1", justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            run.folder.name,
            _date(run.started),
            run.status,
            run.task,
            _trained(run),
            f"{_score(run.headline)} {'SYNTHETIC' if run.synthetic else ''}".rstrip(),
        )
    return table


def compare_table(runs: Sequence[RunOverview]) -> Table:
    """Macro-F1 of every training of several runs, and the settings in which the runs differ."""
    table = _table("macro-F1 on test records [low, high]")
    table.add_column("", no_wrap=True)
    columns = [(run, strategy) for run in runs for strategy in run.strategies]
    for run, strategy in columns:
        mark = " SYNTHETIC" if run.synthetic else ""
        table.add_column(f"{run.folder.resolve().name}\n{strategy}{mark}", justify="right")
    for place in PLACES:
        scores = [run.scores.get(strategy, {}).get(place) for run, strategy in columns]
        table.add_row(place, *(_score(score) for score in scores))
    table.add_section()
    for name, values in differing_settings(runs).items():
        by_run = dict(zip((run.folder for run in runs), values, strict=True))
        table.add_row(name, *(_setting(by_run[run.folder]) for run, _ in columns))
    return table


def print_comparison_of_runs(console: Console, runs: Sequence[RunOverview]) -> None:
    """Several runs side by side, and how to read them."""
    console.print(compare_table(runs))
    console.print(
        "[low, high]: 95% by bootstrap over patients; of a run with several seeds the lowest and "
        "the highest seed. Only runs with the same task, sources and seed have the same test "
        "records: figures of other runs cannot be compared."
    )
    _print_notice(console, runs)


def print_run(console: Console, run: RunOverview) -> None:
    """A run's status, its partition and its result tables, as at the end of the run."""
    console.print(f"{run.folder}: {run.status}, started {_date(run.started)} UTC, {run.task}")
    if run.error:
        console.print(f"It ended with: {run.error}")
    facts = read_json(run.folder / "run.json")
    sites = facts.get("sites", [])
    if sites and all("labels" in row for row in sites):  # real hospitals report no such counts
        unit_at = units_in(run.task, facts)
        console.print(partition_table(sites, TASKS[run.task].classes, unit_at))
    if run.status != COMPLETED:
        if run.status in CONTINUABLE:
            console.print("Continue it with:")
            console.print(resume_line(run.folder, command_of(facts)), soft_wrap=True)
        _print_notice(console, [run])
    elif run.seeds:
        print_seeds(console, read_seeds(run.folder), run.synthetic)
        _print_notice(console, [run])
    else:
        print_results(console, read_summary(run.folder), run.synthetic, units_in(run.task, facts))
        if facts.get("site_folds"):
            console.print(fold_lines(facts))
    if facts.get("data"):
        console.print(left_out(facts["data"]))


def _print_notice(console: Console, runs: Sequence[RunOverview]) -> None:
    synthetic = sorted({name for run in runs for name in run.synthetic})
    if synthetic:
        console.print(synthetic_notice(synthetic))


def _table(title: str) -> Table:
    return Table(title=title or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _trained(run: RunOverview) -> str:
    seeds = f", {len(run.seeds)} seeds" if run.seeds else ""
    folds = f", {run.config['site_folds']} folds" if run.config.get("site_folds") else ""
    return ", ".join(run.strategies) + seeds + folds


def _score(score: Score | None) -> str:
    if score is None:
        return "n/a"
    if score.low is None:
        return number(score.value)
    return f"{number(score.value)} [{number(score.low)}, {number(score.high)}]"


def _setting(value: Any) -> str:
    return str(value) if value not in ("", None) else "-"


def _date(text: str) -> str:
    """`2026-01-02 13:45` of an ISO date and time; as it stands if it is none."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return text
