"""`heartfed runs list | compare | show | attack`: run directories on the terminal."""

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
    commands = {"list": show_list, "compare": compare, "show": show, "attack": attack}
    command = commands[options.command]
    return exit_code(prog, lambda: command(options, console), "interrupted")


def parser(prog: str) -> argparse.ArgumentParser:
    """The commands; a run is named by its path or by its name in --out."""
    made = CommandParser(prog=prog, description=__doc__)
    commands = made.add_subparsers(
        dest="command", required=True, metavar="list|compare|show|attack"
    )
    listing = commands.add_parser("list", help="every run: status, task, strategies, macro-F1")
    comparing = commands.add_parser("compare", help="the results of several runs side by side")
    comparing.add_argument("run", nargs="+", help="run directories, or their names")
    comparing.add_argument("--page", type=Path, help="also write a page that compares them")
    showing = commands.add_parser("show", help="the result tables of one run")
    showing.add_argument("run", help="run directory, or its name")
    attacking = commands.add_parser("attack", help="what an attacker learns from a simulation")
    _add_attack_flags(attacking)
    for command in (listing, comparing, showing, attacking):
        command.add_argument(
            "--out", type=Path, default=Path("runs"), help="parent of the run directories [runs]"
        )
    return made


def _add_attack_flags(attacking: argparse.ArgumentParser) -> None:
    attacking.add_argument("run", help="run directory, or its name")
    attacking.add_argument("--strategy", default="", help="training to attack [the run's own]")
    attacking.add_argument(
        "--round",
        type=int,
        default=0,
        help="round whose updates are attacked; the rounds up to it are repeated [the middle one]",
    )
    attacking.add_argument(
        "--shadows",
        type=int,
        default=8,
        help="shadow models of each thing that is attacked, an even number; 0: no LiRA "
        "[%(default)s]",
    )
    attacking.add_argument(
        "--shadow-model",
        default="",
        help="network of the final model's shadow models: a smaller one is faster [the run's]",
    )
    attacking.add_argument(
        "--shadow-epochs",
        type=int,
        default=0,
        help="epochs of these [as many as the run's hospitals trained]",
    )
    attacking.add_argument(
        "--inversions",
        type=int,
        default=5,
        help="recordings to compute back from gradients; 0: none [%(default)s]",
    )
    attacking.add_argument(
        "--delta", type=float, default=1e-5, help="delta of the bound on epsilon [%(default)s]"
    )


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


def attack(options: argparse.Namespace, console: Console) -> int:
    """Membership inference and gradient inversion on a finished simulation."""
    # Imported here: the other commands need no networks.
    from fl.privacy.attacks.attack_report import write_attack
    from fl.reports.pages.page_files import INDEX, write_index
    from fl.reports.run_files import read_run
    from fl.reports.terminal.attack_tables import print_attack
    from heartfed.attack.attacked_run import open_run
    from heartfed.attack.measure_run import AttackSettings, measure_run

    folder = find_run(options.run, options.out)
    settings = AttackSettings(
        round=options.round,
        shadows=options.shadows,
        shadow_model=options.shadow_model,
        shadow_epochs=options.shadow_epochs,
        inversions=options.inversions,
        delta=options.delta,
    )
    run = open_run(folder, options.strategy)
    report = measure_run(run, settings, lambda line: print(line, file=sys.stderr, flush=True))
    path = write_attack(folder, report)
    print_attack(console, report)
    console.print(f"Written: {path}")
    if (folder / INDEX).is_file():
        write_index(read_run(folder))
        console.print(f"Page: {folder / INDEX}#attack")
    return 0
