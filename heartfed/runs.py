"""`heartfed runs list | compare | show`: run directories on the terminal."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fl.reports.terminal.run_tables import print_comparison_of_runs, print_run, runs_table
from fl.runs.overview import find_run, list_runs, read_overview
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, exit_code


def main(arguments: Sequence[str] | None = None, prog: str = "heartfed runs") -> int:
    """Exit codes: 0 done, 2 a user's mistake."""
    options = parser(prog).parse_args(arguments)
    # A pipe has no width; tables are made to fit 100 columns.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 100)
    command = {"list": show_list, "compare": compare, "show": show}[options.command]
    return exit_code(prog, lambda: command(options, console), "interrupted")


def parser(prog: str) -> argparse.ArgumentParser:
    """The three commands; a run is named by its path or by its name in --out."""
    made = CommandParser(prog=prog, description=__doc__)
    commands = made.add_subparsers(dest="command", required=True, metavar="list|compare|show")
    listing = commands.add_parser("list", help="every run: status, task, strategies, macro-F1")
    comparing = commands.add_parser("compare", help="the results of several runs side by side")
    comparing.add_argument("run", nargs="+", help="run directories, or their names")
    comparing.add_argument("--page", type=Path, help="also write a page that compares them")
    showing = commands.add_parser("show", help="the result tables of one run")
    showing.add_argument("run", help="run directory, or its name")
    for command in (listing, comparing, showing):
        command.add_argument(
            "--out", type=Path, default=Path("runs"), help="parent of the run directories [runs]"
        )
    return made


def show_list(options: argparse.Namespace, console: Console) -> int:
    """Every run in a folder."""
    runs = list_runs(options.out)
    if runs:
        console.print(runs_table(runs))
    else:
        console.print(f"{options.out} has no run directory yet. Make one: heartfed simulate")
    return 0


def compare(options: argparse.Namespace, console: Console) -> int:
    """Several runs side by side."""
    folders = [find_run(name, options.out) for name in options.run]
    if len(folders) < 2:
        raise ConfigError("runs compare: name two runs or more.")
    print_comparison_of_runs(console, [read_overview(folder) for folder in folders])
    if options.page is not None:
        # Imported here: only the pages need matplotlib.
        from fl.reports.__main__ import rebuild

        for path in rebuild(folders, options.page)[-1:]:
            console.print(f"Page: {path}")
    return 0


def show(options: argparse.Namespace, console: Console) -> int:
    """One run's results again."""
    print_run(console, read_overview(find_run(options.run, options.out)))
    return 0
