"""A federated run of hospitals: started, watched and resumed from the coordinator."""

import argparse
import json
import os
import shlex
import tomllib
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

import fl
from fl.config.cli import add_settings, flag_of
from fl.config.config_file import load_config
from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare_all
from fl.datasets.source_selection import select_sources
from fl.ecg.tasks import TASKS
from fl.messages.job import Job
from fl.models import check_model
from fl.privacy.differential_privacy.guarantee import guarantee_of, with_noise
from fl.reports.terminal.progress import make_view
from fl.reports.terminal.result_tables import print_results
from fl.reports.transfer_text import transfer_line
from fl.runs.results import read_summary
from fl.runs.run_lock import run_lock
from fl.runs.run_progress import remaining_of
from fl.runs.run_record import RunRecord, make_run_folder, shard_facts
from fl.training.added_examples import check_remedies
from fl.training.state_dict import check_local_entries
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, DataError, FederationError, require_known
from partitions.partition import CENTRAL, HEADER, Partition, write_partition
from partitions.splits import TEST
from server.aggregation.strategies import STRATEGIES
from server.deploy.audit.federation_log import note_order, print_head
from server.deploy.federation_store import CONNECTION, FederationFolder
from server.deploy.progress import PROGRESS, sites_that_trained, watch
from server.deploy.server_app import write_results
from server.deploy.superlink_client import ask_flower, show_flower_command, stop_run
from server.rounds.initial_weights import keep_initial_weights, read_origin
from server.rounds.training_results import TrainingResult, load_result, write_tables

# Settings that say how a simulation makes hospitals; here they are real.
SIMULATED = frozenset(
    {"task", "data", "partition", "alpha", "holdout", "skew", "engine", "ray_address", "workers"}
    | {"synthetic_records", "synthetic_patients", "device", "compare", "seeds"}
    | {"site_folds", "site_fold"}
)


def add_run_flags(command: argparse.ArgumentParser) -> None:
    """The flags of run_sim.py that are not about making hospitals."""
    add_settings(command, without=SIMULATED)
    command.add_argument("--config", type=Path, help="TOML file with any of these settings")
    command.add_argument("--out", default="runs", help="parent of the run directory [runs]")
    command.add_argument("--name", default="", help="name of the run directory [date and time]")
    command.add_argument("--resume", type=Path, metavar="RUN", help="run directory to go on with")
    command.add_argument("--cache-dir", type=Path, help="preprocessed recordings")
    command.add_argument("--quiet", action="store_true", help="only results and failures")


def run(options: argparse.Namespace) -> int:
    """Train with the hospitals that are approved."""
    folder = FederationFolder(options.federation.absolute())
    config = settings(options, folder)
    if options.print:
        show_flower_command(folder, *start_command(folder, "RUN"), "--format", "json")
        return 0
    with ExitStack() as held:
        try:
            record = open_record(options, folder, config, held)
            if options.resume and (result := finished_training(record.folder, config)):
                note_order(folder, "run-rewritten", run=record.content["run"])
                return write_finished(record, config, result)
            return _run(options, folder, config, record)
        finally:
            print_head(folder)


def _run(
    options: argparse.Namespace, folder: FederationFolder, config: RunConfig, record: RunRecord
) -> int:
    console = Console(highlight=False, markup=False, width=None if os.isatty(1) else 100)
    try:
        shards = prepare_central_test(options, config, record)
        if transfer := keep_initial_weights(record, config):
            console.print(transfer_line(transfer), soft_wrap=True)
        start(folder, record, make_job(folder, record, config, shards))
    except (ConfigError, DataError, FederationError) as error:
        record.update(status="failed", error=str(error))
        raise
    if not options.quiet:
        waiting = ", ".join(folder.approved())
        console.print(f"Started, in {record.folder}; waiting for {waiting}")
    federation, run = shlex.quote(str(options.federation)), shlex.quote(str(record.folder))
    resume = f"Resume with: python -m server.deploy run {federation} --resume {run}"
    try:
        remaining = remaining_of(record.folder, config.model_dump(), record.content)
        watch(folder, record, make_view(console, options.quiet, remaining))
    except FederationError as error:
        note_order(folder, "run-unfinished", run=record.content["run"])
        raise FederationError(f"{str(error).rstrip('.')}. {resume}") from None
    except KeyboardInterrupt:
        with suppress(FederationError):  # if it cannot be stopped now, --resume does it
            stop_run(folder, record.content["flower_run"])
        note_order(folder, "run-stopped", run=record.content["run"])
        raise FederationError(f"interrupted. {resume}") from None
    show_results(console, record)
    return 0


def finished_training(folder: Path, config: RunConfig) -> TrainingResult | None:
    """The result of a run whose training is over, its test at the sites included; or None."""
    return load_result(folder, TASKS[config.task], config.strategy)


def write_finished(record: RunRecord, config: RunConfig, result: TrainingResult) -> int:
    """Write what is left of a run whose training is over; no site is asked, nor the SuperLink."""
    console = Console(highlight=False, markup=False, width=None if os.isatty(1) else 100)
    task = TASKS[config.task]
    console.print(
        f"The training is over: the tables and pages of {record.folder} are written again"
    )
    if sites := sites_that_trained(record.folder, task.classes):
        record.content["sites"] = sites
    record.update()
    write_results(record.folder, config.task, result)
    write_tables(record.folder, task, [result])
    record = RunRecord.read(record.folder)
    record.content.pop("error", None)
    record.update(status="completed")
    show_results(console, record)
    return 0


def make_job(
    folder: FederationFolder, record: RunRecord, config: RunConfig, shards: list[Path]
) -> Job:
    """The run as the ServerApp reads it."""
    return Job(
        config=with_noise(config),
        strategy=config.strategy,
        workspace=str(record.folder.resolve()),
        shards=tuple(str(path) for path in shards),
        n_sites=config.clients,
        run=record.content["run"],
        version=fl.__version__,
        nodes=folder.approved(),
    )


def start(folder: FederationFolder, record: RunRecord, job: Job) -> None:
    """Let Flower start the run; `FederationError` if it cannot."""
    write_atomically(folder.jobs / f"{job.run}.json", job.model_dump_json().encode())
    note_order(folder, "run-ordered", run=job.run, sites=sorted(job.nodes))
    (record.folder / PROGRESS).unlink(missing_ok=True)
    record.update(status="running", sites=[{"site": site} for site in job.nodes])
    if promised := guarantee_of(job.config):
        record.update(privacy=promised.to_json())
    answer = ask_flower(folder, *start_command(folder, job.run))
    try:
        record.update(flower_run=int(answer["run-id"]))
    except (KeyError, TypeError, ValueError):
        raise FederationError(f"`flwr run` gave no number of a run: {answer}") from None


def start_command(folder: FederationFolder, name: str) -> list[str]:
    """How Flower is asked to start a run; its settings stay here, in jobs/."""
    return ["run", str(folder.app), CONNECTION, "--run-config", f"job={json.dumps(name)}"]


def show_results(console: Console, record: RunRecord) -> None:
    """Write the pages and print the results of a run that is completed."""
    from fl.reports.build import write_report  # loaded only now: a run takes long enough

    write_report(record.folder)
    print_results(console, read_summary(record.folder), ())
    console.print(f"Results: {record.folder}")


def settings(options: argparse.Namespace, folder: FederationFolder) -> RunConfig:
    """The run's settings: from flags and a file, or those that a resumed run began with."""
    given = vars(options)
    flags: dict[str, Any] = {n: given[n] for n in RunConfig.model_fields if n in given}
    approved = folder.approved()
    if options.resume:
        if options.config:
            raise ConfigError("--resume: the run has its own configuration; leave --config out.")
        return RunRecord.read(options.resume).config_with(flags)
    if options.config:
        reject_simulation_settings(options.config)
    flags |= {"task": folder.settings().task, "data": "real", "site_folds": 0}
    config = load_config({"clients": max(len(approved), 1)} | flags, options.config)
    if config.task != folder.settings().task:
        other = config.filter != TASKS[folder.settings().task].filter
        changed = "filter" if other else "rhythm_features"
        raise ConfigError(
            f"{flag_of(changed)} is {getattr(config, changed)!r}, but the federation's task is "
            f"{folder.settings().task!r}. Leave it out, or make a federation with --task "
            f"{config.task}: the hospitals prepare their recordings for one task."
        )
    check_model(config.model, TASKS[config.task])
    check_remedies(config)
    require_known(config.strategy, STRATEGIES, "--strategy")
    check_local_entries(config.strategy, config.model, config.task, config.freeze)
    read_origin(config)
    if config.clients > len(approved):
        raise ConfigError(
            f"--clients is {config.clients}, but {len(approved)} sites are approved. "
            "`python -m server.deploy approve` admits one."
        )
    if has_central_test(options, {}) and not Path(config.data_dir).is_dir():
        raise ConfigError(f"--data-dir {config.data_dir}: is no folder.")
    return config


def reject_simulation_settings(path: Path) -> None:
    """`ConfigError` if a file has settings that make no sense with real hospitals."""
    odd = sorted(keys_of(path) & SIMULATED)
    if odd:
        raise ConfigError(
            f"--config {path}: {', '.join(odd)} is for simulations; hospitals are as they are. "
            "Leave it out."
        )


def keys_of(path: Path) -> set[str]:
    """The settings that a file names; none if it cannot be read, which `load_config` reports."""
    try:
        return {key.replace("-", "_") for key in tomllib.loads(path.read_text())}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return set()


def open_record(
    options: argparse.Namespace, folder: FederationFolder, config: RunConfig, held: ExitStack
) -> RunRecord:
    """The run directory: a new one, or an old one after whatever still ran in it was ended.

    `held` keeps its lock.
    """
    if options.resume:
        RunRecord.read(options.resume)  # a run directory, before a file is written into it
        held.enter_context(run_lock(options.resume))
        record = RunRecord.read(options.resume)
        if "run" not in record.content:
            raise ConfigError(f"--resume: {options.resume} is a simulation's. Use run_sim.py.")
        if "flower_run" in record.content and not finished_training(record.folder, config):
            stop_run(folder, record.content["flower_run"])
        record.record_resumption()
        return record
    new = make_run_folder(Path(options.out), options.name)
    held.enter_context(run_lock(new))
    record = RunRecord.new(new, config, ())
    # Sites keep their own files under this name; another run must not find them.
    name = f"{record.folder.name[:40]}-{uuid.uuid4().hex[:8]}"
    record.update(run="".join(c if c.isalnum() or c in "-_" else "-" for c in name))
    record.update(engine="deployment", federation=folder.settings().name)
    return record


def has_central_test(options: argparse.Namespace, begun: Mapping[str, Any]) -> bool:
    """Whether the coordinator named test records of its own: now, or when the run was begun."""
    if "data_dir" in options:
        return True
    if options.config is not None and "data_dir" in keys_of(options.config):
        return True
    return bool(begun.get("central_test", begun.get("data")))


def prepare_central_test(
    options: argparse.Namespace, config: RunConfig, record: RunRecord
) -> list[Path]:
    """Cache folders of the coordinator's own test records; none unless --data-dir is given."""
    path = record.folder / "partition.csv"
    record.update(central_test=has_central_test(options, record.content))
    if not record.content["central_test"]:
        write_atomically(path, (",".join(HEADER) + "\n").encode())
        record.update(data=[])
        return []
    choice = select_sources(config)
    task = TASKS[config.task]
    cache = options.cache_dir or default_cache_dir()
    shards = list(prepare_all(choice.sources, Path(config.data_dir), task, cache).values())
    cohort, copies = Cohort.open(task, shards).without_duplicates()
    facts = [shard_facts(shard, copies) for shard in cohort.shards]
    record.require_same_data(facts)
    record.update(data=facts)
    everywhere = [CENTRAL] * len(cohort), [TEST] * len(cohort)
    write_partition(path, cohort, _partition(*everywhere))
    return shards


def _partition(site: list[str], split: list[str]) -> Partition:
    import numpy as np

    return Partition(np.array(site, dtype="U64"), np.array(split, dtype="U5"))
