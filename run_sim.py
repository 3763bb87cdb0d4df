"""HeartFed on the command line: parse, build, run, write, show."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console

import fl  # first: it turns telemetry off before flwr and ray are imported
from fl.cache import default_cache_dir, prepare_all, write_whole
from fl.config import RunConfig, load_config, need
from fl.datasets.choose import Choice, choose_sources
from fl.errors import ConfigError, DataError, FederationError
from fl.reports import console as show
from fl.rundir import RunRecord, make_folder, shard_facts
from fl.tasks import TASKS

if TYPE_CHECKING:
    from fl.cohort import Cohort
    from partitions.deal import Partition

# Flags of the design that this version does not serve: refused, never ignored.
LATER = {
    "--compare": "comparison with local-only and pooled training",
    "--seeds": "repeats over several seeds",
    "--tensorboard": "TensorBoard logging",
    "--ray-address": "an existing Ray cluster",
}


def parser() -> argparse.ArgumentParser:
    """Every field of RunConfig is a flag; flags that were not given stay out of the result."""
    made = argparse.ArgumentParser(
        prog="run_sim.py",
        description="Train one ECG model over hospitals that keep their recordings. "
        "Research software, no medical device.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in RunConfig.model_fields.items():
        choices = get_args(field.annotation) or None
        default = "" if field.default == "" else f" [{field.default}]"
        made.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=None if choices else name.upper(),
            choices=choices,
            help=f"{field.description}{default}",
        )
    made.add_argument("--config", type=Path, help="TOML file with any of these settings")
    made.add_argument("--out", default="runs", help="parent of the run directory [runs]")
    made.add_argument("--name", default="", help="name of the run directory [date and time]")
    made.add_argument("--resume", type=Path, metavar="RUN", help="run directory to go on with")
    made.add_argument("--cache-dir", help="preprocessed recordings [$HEARTFED_CACHE]")
    made.add_argument(
        "--quiet", action="store_true", default=False, help="no progress; results are still printed"
    )
    for flag, what in LATER.items():
        made.add_argument(flag, nargs="?", const="", help=f"{what} (not in this version)")
    return made


def settings(argv: Sequence[str]) -> tuple[RunConfig, argparse.Namespace]:
    """The run's configuration and the options that are not part of it."""
    options = parser().parse_args(argv)
    given = vars(options)
    for flag, what in LATER.items():
        if flag[2:].replace("-", "_") in given:
            raise ConfigError(f"{flag}: {what} is not in this version ({fl.__version__}).")
    flags = {name: given[name] for name in RunConfig.model_fields if name in given}
    if "resume" in given:
        if "config" in given:
            raise ConfigError("--resume: the run has its configuration; leave --config out.")
        config = RunRecord.read(options.resume).config_with(flags)
    else:
        if "data_dir" not in flags and os.environ.get("ECG_DATA"):
            flags["data_dir"] = os.environ["ECG_DATA"]
        config = load_config(flags, given.get("config"))
    # Imported here: the processes that preprocess import this file, and have no use for torch.
    from fl.augment import AUGMENTATIONS
    from fl.models import MODELS
    from partitions.make import check_partition
    from partitions.skew import check_skews

    check_partition(config)
    need(config.model, MODELS, "--model")
    check_skews(config.skews, TASKS[config.task])
    for name in config.augmentations:
        need(name, AUGMENTATIONS, "--augment")
    return config, options


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 a user's mistake, 1 anything else."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        config, options = settings(sys.argv[1:] if argv is None else argv)
        run(config, options)
    except (ConfigError, DataError) as error:
        errors.print(f"run_sim.py: error: {error}")
        return 2
    except FederationError as error:
        errors.print(f"run_sim.py: stopped: {error}")
        return 1
    except KeyboardInterrupt:
        errors.print("run_sim.py: interrupted; what is done so far is in the run directory")
        return 1
    return 0


def run(config: RunConfig, options: argparse.Namespace) -> Path:
    """One run, from data to table; returns the run directory."""
    # Imported here, so that a mistake in a flag is answered before flwr, ray and matplotlib load.
    from partitions.drawing import draw_mix
    from partitions.make import check_holdout
    from partitions.skew import device_facts
    from partitions.summary import non_iid, site_rows, unmeasurable
    from server.simulate import check_device
    from server.strategies import STRATEGIES

    need(config.strategy, STRATEGIES, "--strategy")
    check_device(config.device)
    # A pipe has no width; tables are made to fit 100 columns.
    width = None if sys.stdout.isatty() else 100
    console = Console(highlight=False, markup=False, width=width)
    choice = choose_sources(config)
    check_holdout(config, choice)
    if choice.synthetic:
        console.print(show.synthetic_notice(choice.synthetic))
    if hasattr(options, "resume"):
        record = RunRecord.read(options.resume)
        record.note_resumption()
    else:
        folder = make_folder(Path(options.out), options.name)
        record = RunRecord.new(folder, config, choice.synthetic)
    try:
        began = time.monotonic()
        shards = preprocess(config, options, choice, console)
        cohort, partition = dealt(config, choice, shards, record)
        record.content["seconds"]["data"] = round(time.monotonic() - began, 3)
        rows = site_rows(cohort, partition)
        lacking, apart = unmeasurable(cohort, partition), non_iid(cohort, partition)
        devices = device_facts(config.skews, cohort.task, config.seed, partition.sites)
        record.update(status="running", sites=rows, not_measurable_centrally=lacking)
        record.update(non_iid=apart, devices=devices)
        picture = draw_mix(cohort, partition, apart, bool(choice.synthetic))
        write_whole(record.folder / "partition.svg", picture)
        if not options.quiet:
            console.print(show.partition_table(rows, cohort.task.classes))
            console.print(show.non_iid_line(apart))
            for name, faults in devices.items():
                console.print(show.device_line(name, faults))
        if lacking:
            console.print(f"No central test record shows {', '.join(lacking)}: n/a there.")
        view = show.make_view(console, options.quiet)
        results = federate(config, shards, record, view, len(partition.sites))
        summary = {
            "task": config.task,
            "synthetic": bool(choice.synthetic),
            "classes": list(cohort.task.classes),
            "strategies": results,
        }
        write_whole(record.folder / "summary.json", json.dumps(summary, indent=1).encode())
        record.update(status="completed")
    except BaseException as error:
        record.update(status="failed", error=f"{type(error).__name__}: {error}")
        raise
    show.print_results(console, summary, choice.synthetic)
    console.print(show.left_out(record.content["data"]))
    console.print(f"Results: {record.folder}")
    return record.folder


def preprocess(
    config: RunConfig, options: argparse.Namespace, choice: Choice, console: Console
) -> list[Path]:
    """Cache folder of each source."""
    from server.simulate import available_cores

    given = getattr(options, "cache_dir", None)
    cache_dir = Path(given) if given else default_cache_dir()
    workers = config.workers or available_cores()
    root, task = Path(config.data_dir), TASKS[config.task]
    with show.Steps(console, options.quiet) as steps:
        return list(
            prepare_all(choice.sources, root, task, cache_dir, workers, steps.step).values()
        )


def dealt(
    config: RunConfig, choice: Choice, shards: list[Path], record: RunRecord
) -> tuple["Cohort", "Partition"]:
    """The cohort and its partition: dealt and written, or read again when a run goes on."""
    from fl.cohort import Cohort
    from partitions.deal import read_partition, write_partition
    from partitions.make import make_partition

    cohort, copies = Cohort.open(TASKS[config.task], shards).without_copies()
    facts = [shard_facts(shard, copies) for shard in cohort.shards]
    record.refuse_other_data(facts)
    path = record.folder / "partition.csv"
    if path.exists():
        partition = read_partition(path, cohort)
    else:
        partition = make_partition(config, choice, cohort)
        write_partition(path, cohort, partition)
    record.update(data=facts)
    return cohort, partition


def federate(
    config: RunConfig, shards: list[Path], record: RunRecord, view: show.PlainView, n_sites: int
) -> dict[str, Any]:
    """Train by the strategy asked for; its part of summary.json by name."""
    from clients.app import app as client_app
    from fl.wire import Job
    from server.app import server_app
    from server.simulate import simulate

    job = Job(
        config=config,
        strategy=config.strategy,
        workspace=str(record.folder.resolve()),
        shards=tuple(str(path) for path in shards),
        n_sites=n_sites,
    )
    results: dict[str, Any] = {}

    def finished(summary: dict[str, Any], progress: Any) -> None:
        results[config.strategy] = summary
        record.content["failures"] = progress.failures

    began = time.monotonic()
    try:
        simulate(server_app(view, finished), client_app, job, n_sites)
    finally:
        view.close()
    record.content["seconds"]["training"] = round(time.monotonic() - began, 3)
    return results


if __name__ == "__main__":
    sys.exit(main())
