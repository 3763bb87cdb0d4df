"""HeartFed on the command line: parse, build, run, write, show."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

import fl  # first: it turns telemetry off before flwr and ray are imported
from fl.cache import default_cache_dir, open_shard, prepare_all, write_whole
from fl.config import RunConfig, load_config, need
from fl.datasets.choose import Choice, choose_sources
from fl.errors import ConfigError, DataError, FederationError
from fl.reports import console as show
from fl.tasks import TASKS
from partitions import PARTITIONERS

# Flags of the design that this version does not serve: refused, never ignored.
LATER = {
    "--compare": "comparison with local-only and pooled training",
    "--resume": "going on from a checkpoint",
    "--patience": "early stopping",
    "--skew": "feature skew between sites",
    "--seeds": "repeats over several seeds",
    "--tensorboard": "TensorBoard logging",
    "--ray-address": "an existing Ray cluster",
}
PACKAGES = ("flwr", "ray", "torch", "numpy", "scipy", "scikit-learn", "wfdb")


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
    # Imported here: the processes that preprocess import this file, and need no torch.
    from fl.augment import AUGMENTATIONS
    from fl.models import MODELS

    given = vars(options)
    for flag, what in LATER.items():
        if flag[2:].replace("-", "_") in given:
            raise ConfigError(f"{flag}: {what} is not in this version ({fl.__version__}).")
    flags = {name: given[name] for name in RunConfig.model_fields if name in given}
    if "data_dir" not in flags and os.environ.get("ECG_DATA"):
        flags["data_dir"] = os.environ["ECG_DATA"]
    config = load_config(flags, given.get("config"))
    need(config.model, MODELS, "--model")
    need(config.partition, PARTITIONERS, "--partition")
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
        errors.print("run_sim.py: interrupted")
        return 1
    return 0


def run(config: RunConfig, options: argparse.Namespace) -> Path:
    """One run, from data to table; returns the run directory."""
    # Imported here, so that a mistake in a flag is answered before torch, flwr and ray load.
    from clients.app import app as client_app
    from fl.cohort import Cohort
    from fl.wire import Job
    from partitions.deal import deal, share_sites, write_partition
    from partitions.summary import site_rows, unmeasurable
    from server.app import server_app
    from server.simulate import check_device, simulate
    from server.strategies import STRATEGIES

    need(config.strategy, STRATEGIES, "--strategy")
    check_device(config.device)
    # A pipe has no width; tables are made to fit 100 columns.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    choice = choose_sources(config)
    if choice.synthetic:
        console.print(show.synthetic_notice(choice.synthetic))
    folder = make_folder(Path(options.out), options.name)
    record = RunRecord(folder, config, choice)
    try:
        began = time.monotonic()
        shards = preprocess(config, options, choice, console)
        task = TASKS[config.task]
        cohort, copies = Cohort.open(task, list(shards.values())).without_copies()
        recordings = {
            name: len(set(cohort.column("recordings")[cohort.sources == name].tolist()))
            for name in choice.sites
        }
        sites = share_sites(choice.sites, recordings, config.clients)
        partition = deal(cohort, sites, config.partition, config.alpha, config.seed, choice.holdout)
        write_partition(folder / "partition.csv", cohort, partition)
        rows = site_rows(cohort, partition)
        lacking = unmeasurable(cohort, partition)
        record.update(
            data=[_shard_facts(name, path, copies) for name, path in shards.items()],
            sites=rows,
            not_measurable_centrally=lacking,
            seconds={"data": round(time.monotonic() - began, 3)},
        )
        if not options.quiet:
            console.print(show.partition_table(rows, task.classes))
        if lacking:
            console.print(f"No central test record shows {', '.join(lacking)}: n/a there.")
        job = Job(
            config=config,
            strategy=config.strategy,
            workspace=str(folder.resolve()),
            shards=tuple(str(path) for path in shards.values()),
        )
        view = show.make_view(console, options.quiet)
        results: dict[str, Any] = {}

        def finished(summary: dict[str, Any], progress: Any) -> None:
            results[config.strategy] = summary
            record.update(failures=progress.failures)

        began = time.monotonic()
        try:
            simulate(server_app(view, finished), client_app, job, config.clients)
        finally:
            view.close()
        record.content["seconds"]["training"] = round(time.monotonic() - began, 3)
        summary = {
            "task": config.task,
            "synthetic": bool(choice.synthetic),
            "classes": list(task.classes),
            "strategies": results,
        }
        write_whole(folder / "summary.json", json.dumps(summary, indent=1).encode())
        record.update(status="completed")
    except BaseException as error:
        record.update(status="failed", error=f"{type(error).__name__}: {error}")
        raise
    for name, result in results.items():
        console.print(show.result_table(name, result, task.classes, bool(choice.synthetic)))
        console.print(show.result_notes(result, task.classes))
        if result["central"]:
            console.print(show.class_table("Central test, per class", result["central"]))
    if choice.synthetic:
        console.print(show.synthetic_notice(choice.synthetic))
    console.print(f"Results: {folder}")
    return folder


def preprocess(
    config: RunConfig, options: argparse.Namespace, choice: Choice, console: Console
) -> dict[str, Path]:
    """Cache folder of each source."""
    from server.simulate import available_cores

    given = getattr(options, "cache_dir", None)
    cache_dir = Path(given) if given else default_cache_dir()
    workers = config.workers or available_cores()
    task, root = TASKS[config.task], Path(config.data_dir)
    with show.Steps(console, options.quiet) as steps:
        return prepare_all(choice.sources, root, task, cache_dir, workers, steps.step)


def make_folder(out: Path, name: str) -> Path:
    """A new run directory; `ConfigError` if it cannot be made or is already there."""
    folder = out / (name or datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        if folder.is_dir():
            raise ConfigError(f"--name: {folder} is already there. Choose another name.") from None
        raise ConfigError(f"--out: {out} is a file. Name a folder.") from None
    except OSError as error:
        raise ConfigError(
            f"--out: {folder} cannot be made ({error.strerror}). Name a folder you may write to."
        ) from None
    return folder


class RunRecord:
    """run.json, rewritten whole at every step of the run."""

    def __init__(self, folder: Path, config: RunConfig, choice: Choice) -> None:
        self.path = folder / "run.json"
        self.content: dict[str, Any] = {
            "status": "running",
            "heartfed": fl.__version__,
            "command": sys.argv,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": config.model_dump(),
            "seed": config.seed,
            "engine": config.engine,
            "synthetic": list(choice.synthetic),
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in PACKAGES},
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
            "seconds": {},
            "failures": [],
        }
        self.update()

    def update(self, **facts: Any) -> None:
        """Add facts and write."""
        self.content |= facts
        write_whole(self.path, json.dumps(self.content, indent=1).encode())


def _shard_facts(name: str, path: Path, copies: dict[str, list[str]]) -> dict[str, Any]:
    shard = open_shard(path)
    excluded = dict(shard.excluded)
    if name in copies:
        excluded["duplicate"] = [*excluded.get("duplicate", []), *copies[name]]
    return {
        "source": name,
        "sha256": shard.digest,
        "cache": str(path),
        "examples": len(shard.names),
        "recordings": len(set(shard.recordings.tolist())),
        "patients": len(set(shard.patients.tolist())),
        "excluded": excluded,
    }


if __name__ == "__main__":
    sys.exit(main())
