"""HeartFed on the command line: parse, build, run, write, show."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from rich.console import Console

import fl  # noqa: F401  (first: it turns telemetry off before flwr and ray are imported)
from fl.config.cli import add_settings
from fl.config.config_file import load_config
from fl.config.run_config import RunConfig
from fl.ecg.tasks import TASKS
from fl.reports.terminal.notices import synthetic_notice
from fl.runs.run_record import RunRecord, make_run_folder
from fl.util.errors import ConfigError, exit_code, require_known
from fl.util.fast_import import without_garbage_collection


def parser() -> argparse.ArgumentParser:
    """Every field of RunConfig is a flag; flags that were not given stay out of the result."""
    made = argparse.ArgumentParser(
        prog="run_sim.py",
        description="Train one ECG model over hospitals that keep their recordings. "
        "Research software, no medical device.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add_settings(made)
    made.add_argument("--config", type=Path, help="TOML file with any of these settings")
    made.add_argument("--out", default="runs", help="parent of the run directory [runs]")
    made.add_argument("--name", default="", help="name of the run directory [date and time]")
    made.add_argument("--resume", type=Path, metavar="RUN", help="run directory to go on with")
    made.add_argument("--cache-dir", type=Path, help="preprocessed recordings [$HEARTFED_CACHE]")
    made.add_argument(
        "--quiet", action="store_true", default=False, help="no progress; results are still printed"
    )
    made.add_argument(
        "--no-pages",
        action="store_true",
        default=False,
        help="write no report/ (python -m fl.reports RUN does it later)",
    )
    made.add_argument(
        "--tensorboard",
        action="store_true",
        default=False,
        help="also write curves for TensorBoard into the run directory",
    )
    return made


def settings(argv: Sequence[str]) -> tuple[RunConfig, argparse.Namespace]:
    """The run's configuration and the options that are not part of it."""
    options = parser().parse_args(argv)
    given = vars(options)
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
    with without_garbage_collection():
        from fl.models import MODELS
        from fl.training.augmentation import check_augmentations
        from partitions.build import check_partition
        from partitions.device_skew import check_skews

    check_partition(config)
    require_known(config.model, MODELS, "--model")
    check_skews(config.skews, TASKS[config.task])
    check_augmentations(config.augmentations, TASKS[config.task])
    return config, options


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 a user's mistake, 1 anything else."""

    def act() -> int:
        run(*settings(sys.argv[1:] if argv is None else argv))
        return 0

    return exit_code("run_sim.py", act, "interrupted; what is done so far is in the run directory")


def run(config: RunConfig, options: argparse.Namespace) -> Path:
    """One run, or one for each of several seeds; returns the run directory."""
    # Imported here, so that a mistake in a flag is answered before flwr, ray and matplotlib load.
    with without_garbage_collection():
        from server.aggregation.strategies import STRATEGIES

    for name in config.strategies:
        require_known(name, STRATEGIES, "--compare" if config.compare else "--strategy")

    with without_garbage_collection():
        from clients.app import app as client_app
        from fl.reports.tensorboard import check_tensorboard
        from fl.training.device import check_device
        from server.engines.ray_workers import WorkerPool
        from server.experiment.multi_seed import run_repeats
        from server.experiment.run import Session, run_once, select_run_sources

    check_device(config.device)
    if config.ray_address:
        from server.engines.ray_cluster import check_cluster

        check_cluster(config.ray_address)
    if options.tensorboard:
        check_tensorboard()
    # A pipe has no width; tables are made to fit 100 columns.
    width = None if sys.stdout.isatty() else 100
    console = Console(highlight=False, markup=False, width=width)
    choice = select_run_sources(config)
    if choice.synthetic:
        console.print(synthetic_notice(choice.synthetic))
    if hasattr(options, "resume"):
        record = RunRecord.read(options.resume)
        record.record_resumption()
    else:
        folder = make_run_folder(Path(options.out), options.name)
        record = RunRecord.new(folder, config, choice.synthetic)
    with ExitStack() as stack:
        pool = None
        if config.engine == "ray" and not config.ray_address:
            pool = stack.enter_context(closing(WorkerPool(config, ["clients.app"])))
        session = Session(
            client_app=client_app,
            console=console,
            quiet=options.quiet,
            pages=not options.no_pages,
            tensorboard=options.tensorboard,
            cache_dir=getattr(options, "cache_dir", None),
            pool=pool,
        )
        if config.seeds:
            run_repeats(session, config, choice, record)
        else:
            run_once(session, config, choice, record)
    return record.folder


if __name__ == "__main__":
    sys.exit(main())
