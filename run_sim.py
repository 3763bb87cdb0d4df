"""HeartFed's simulation on the command line: parse, check, run, show."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import fl  # noqa: F401  (first: it turns telemetry off before flwr and ray are imported)
from fl.config.cli import Choices, add_run_options, add_settings
from fl.config.config_file import config_of_user, require_data_folder
from fl.config.run_config import RunConfig
from fl.config.run_options import RunOptions
from fl.runs.run_record import RunRecord
from fl.util.child_process import exit_immediately
from fl.util.command_line import CommandParser, sigterm_as_interrupt
from fl.util.errors import ConfigError, did_you_mean, exit_code
from fl.util.imports.fast_import import without_garbage_collection
from fl.util.private_files import private_files

OPTIONS = tuple(RunOptions.__dataclass_fields__)
PATHS = frozenset({"config", "out", "resume", "cache_dir"})  # options that are paths
INTERRUPTED = "interrupted before there was a run directory"


def parser(prog: str = "run_sim.py", choices: Choices | None = None) -> argparse.ArgumentParser:
    """Every setting of a run is a flag; flags that were not given stay out of the result."""
    made = CommandParser(
        prog=prog,
        usage="%(prog)s [--flag VALUE ...]",
        description="Train one ECG model over hospitals that keep their recordings. "
        "Research software, no medical device.",
        argument_default=argparse.SUPPRESS,
    )
    add_settings(made, choices=choices)
    add_run_options(made)
    return made


def settings(argv: Sequence[str], prog: str = "run_sim.py") -> tuple[RunConfig, RunOptions]:
    """The run's configuration and the options that are not part of it."""
    choices = None
    if {"-h", "--help"} & set(argv):
        # Only the help shows the choices: their tables load torch and Flower, which takes seconds.
        with without_garbage_collection():
            from server.experiment.choices import known_names

        choices = known_names()
    return resolve(vars(parser(prog, choices).parse_args(argv)))


def resolve(given: Mapping[str, Any]) -> tuple[RunConfig, RunOptions]:
    """Settings and options by name -> the configuration and the options."""
    known = (*RunConfig.model_fields, *OPTIONS, "config")
    for name in given:
        if name not in known:
            raise ConfigError(f"{name} is no setting.{did_you_mean(name, known)}")
    options = RunOptions(**{name: given[name] for name in OPTIONS if name in given})
    flags = {name: given[name] for name in RunConfig.model_fields if name in given}
    if options.resume is None:
        return config_of_user(flags, given.get("config"), os.environ), options
    if "config" in given:
        raise ConfigError("--resume: the run has its configuration; leave --config out.")
    record = RunRecord.read(options.resume)
    config = record.config_with(flags)
    if "data_dir" in flags:
        require_data_folder("--data-dir", config.data_dir)
    elif not config.sources and not record.content.get("synthetic"):
        # With its recordings gone the run would be taken for a synthetic one.
        require_data_folder(f"--resume {options.resume}: its data_dir", config.data_dir)
    return config, options


def main(argv: Sequence[str] | None = None, prog: str = "run_sim.py") -> int:
    """Exit codes: 0 done, 2 a user's mistake, 1 anything else."""

    def act() -> int:
        with sigterm_as_interrupt(), private_files():
            run(*settings(sys.argv[1:] if argv is None else argv, prog))
        return 0

    return exit_code(prog, act, INTERRUPTED)


def run(config: RunConfig, options: RunOptions) -> Path | None:
    """One run, or one for each of several seeds: its directory, None if it was a dry run."""
    # Imported here, in this order: the processes that preprocess import this file and have no use
    # for torch, and a mistake in a flag is answered before Flower, Ray and matplotlib load.
    with without_garbage_collection():
        from server.experiment.choices import check_choices

    selection = check_choices(config)
    # A pipe has no width; tables are made to fit 100 columns.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 100)
    if options.dry_run:
        with without_garbage_collection():
            from clients.training_plan import training_plan
            from server.experiment.dry_run import dry_run

        dry_run(config, options, selection, training_plan(config, "site-1", 1), console)
        return None
    with without_garbage_collection():
        from clients.app import app as client_app
        from server.experiment.launch import launch

    return launch(config, options, selection, client_app, console)


if __name__ == "__main__":
    if status := main():
        sys.exit(status)  # in order: what was interrupted may have left something to end
    exit_immediately(0)
