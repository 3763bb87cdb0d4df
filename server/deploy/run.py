"""A federated run of hospitals: begun, watched and gone on with from the coordinator."""

import argparse
import json
import os
import time
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

import fl
from fl.config.cli import add_settings
from fl.config.config_file import load_config
from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare_all
from fl.datasets.source_selection import select_sources
from fl.ecg.tasks import TASKS
from fl.messages.job import Job
from fl.messages.payloads import SiteInfo
from fl.models import MODELS
from fl.reports.terminal.progress import PlainView, make_view
from fl.reports.terminal.result_tables import print_results
from fl.runs.history_tables import RoundRow
from fl.runs.results import read_summary
from fl.runs.run_record import RunRecord, make_run_folder, shard_facts
from fl.util.atomic_io import write_atomically
from fl.util.child_process import raise_if_stopping
from fl.util.errors import ConfigError, FederationError, require_known
from partitions.partition import CENTRAL, HEADER, Partition, write_partition
from partitions.splits import TEST
from server.aggregation.strategies import STRATEGIES
from server.deploy.federation_store import CONNECTION, PROGRESS, FederationFolder
from server.deploy.flower_command import run_flower_command
from server.deploy.superlink_client import run_state, stop_run

# Settings that say how a simulation makes hospitals; here they are real.
SIMULATED = frozenset(
    {"task", "data", "partition", "alpha", "holdout", "skew", "engine", "ray_address", "workers"}
    | {"synthetic_records", "synthetic_patients", "device", "compare", "seeds"}
)
LOOK = 0.2  # seconds between looks at a run's progress
ASK = 5.0  # seconds between questions to the SuperLink whether the run still lives


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
    # Imported here: the pages load what other commands have no use for; deploy imports this file.
    from fl.reports.build import write_report

    folder = FederationFolder(options.federation.absolute())
    config = settings(options, folder)
    if options.print:
        run_flower_command(options, folder, *start_command(folder, "RUN"))
        return 0
    console = Console(highlight=False, markup=False, width=None if os.isatty(1) else 100)
    record = open_record(options, folder, config)
    shards = prepare_central_test(options, config, record)
    job = Job(
        config=config,
        strategy=config.strategy,
        workspace=str(record.folder.resolve()),
        shards=tuple(str(path) for path in shards),
        n_sites=config.clients,
        run=record.content["run"],
        version=fl.__version__,
        nodes=folder.approved(),
    )
    write_atomically(folder.jobs / f"{job.run}.json", job.model_dump_json().encode())
    (record.folder / PROGRESS).unlink(missing_ok=True)
    record.update(status="running", sites=[{"site": site} for site in job.nodes])
    output = run_flower_command(options, folder, *start_command(folder, job.run))
    record.update(flower_run=_number(output))
    if not options.quiet:
        console.print(f"Begun, in {record.folder}; awaiting {', '.join(job.nodes)}")
    again = f"Go on with: python -m server.deploy run {options.federation} --resume {record.folder}"
    try:
        watch(folder, record, make_view(console, options.quiet))
    except FederationError as error:
        raise FederationError(f"{error} {again}") from None
    except KeyboardInterrupt:
        with suppress(FederationError):  # if it cannot be stopped now, --resume does it
            stop_run(folder, record.content["flower_run"])
        raise FederationError(f"interrupted. {again}") from None
    write_report(record.folder)
    print_results(console, read_summary(record.folder), ())
    console.print(f"Results: {record.folder}")
    return 0


def start_command(folder: FederationFolder, name: str) -> list[str]:
    """How Flower is asked to start a run; its settings stay here, in jobs/."""
    job = f"job={json.dumps(name)}"
    return ["run", str(folder.app), CONNECTION, "--run-config", job, "--format", "json"]


def settings(options: argparse.Namespace, folder: FederationFolder) -> RunConfig:
    """The run's settings: as given, as a file has them, or as the run began with."""
    given = vars(options)
    flags: dict[str, Any] = {n: given[n] for n in RunConfig.model_fields if n in given}
    approved = folder.approved()
    if options.resume:
        if options.config:
            raise ConfigError("--resume: the run has its configuration; leave --config out.")
        return RunRecord.read(options.resume).config_with(flags)
    if options.config:
        reject_simulation_settings(options.config)
    flags |= {"task": folder.settings().task, "data": "real"}
    config = load_config({"clients": max(len(approved), 1)} | flags, options.config)
    require_known(config.model, MODELS, "--model")
    require_known(config.strategy, STRATEGIES, "--strategy")
    if config.clients > len(approved):
        raise ConfigError(
            f"--clients is {config.clients}, but {len(approved)} sites are approved. "
            "`python -m server.deploy approve` lets one in."
        )
    return config


def reject_simulation_settings(path: Path) -> None:
    """`ConfigError` if a file has settings that make no sense with real hospitals."""
    try:
        found = {key.replace("-", "_") for key in tomllib.loads(path.read_text())}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return  # load_config says what is wrong with it
    odd = sorted(found & SIMULATED)
    if odd:
        raise ConfigError(
            f"--config {path}: {', '.join(odd)} is for simulations; hospitals are as they are. "
            "Leave it out."
        )


def open_record(
    options: argparse.Namespace, folder: FederationFolder, config: RunConfig
) -> RunRecord:
    """The run directory: new, or found again after whatever still ran in it was ended."""
    if options.resume:
        record = RunRecord.read(options.resume)
        if "run" not in record.content:
            raise ConfigError(f"--resume: {options.resume} is a simulation's. Use run_sim.py.")
        if "flower_run" in record.content:
            stop_run(folder, record.content["flower_run"])
        record.record_resumption()
        return record
    record = RunRecord.new(make_run_folder(Path(options.out), options.name), config, ())
    # Sites keep what is theirs under this name; another run must not find it.
    name = f"{record.folder.name[:40]}-{uuid.uuid4().hex[:8]}"
    record.update(run="".join(c if c.isalnum() or c in "-_" else "-" for c in name))
    record.update(engine="deployment", federation=folder.settings().name)
    return record


def prepare_central_test(
    options: argparse.Namespace, config: RunConfig, record: RunRecord
) -> list[Path]:
    """Cache folders of the coordinator's own test records; none without --data-dir."""
    path = record.folder / "partition.csv"
    if config.data_dir == RunConfig.model_fields["data_dir"].default:
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


def watch(folder: FederationFolder, record: RunRecord, view: PlainView) -> None:
    """Show a run's progress until it has ended; `FederationError` if it did not end well."""
    run_id, lines, asked = record.content["flower_run"], _lines(record.folder), time.monotonic()
    state = ""
    try:
        while True:
            for what, *given in next(lines):
                if what == "training":
                    given[2] = [SiteInfo(**hello) for hello in given[2]]
                elif what == "round":
                    given = [RoundRow(**given[0])]
                getattr(view, what)(*given)
            if state:
                break
            told = RunRecord.read(record.folder).content
            if told["status"] != "running":
                state = str(told["status"])
            elif time.monotonic() - asked > ASK:
                asked = time.monotonic()
                ended = run_state(folder, run_id)
                state = ended if ended.startswith("finished") or ended == "unknown" else ""
            raise_if_stopping()
            time.sleep(0 if state else LOOK)
    finally:
        view.close()
    record.content = RunRecord.read(record.folder).content
    if record.content["status"] != "completed":
        raise FederationError(str(record.content.get("error") or f"the run ended: {state}"))


def _lines(folder: Path) -> Iterator[list[list[Any]]]:
    """What has been told since the last look, again and again."""
    path, at = folder / PROGRESS, 0
    while True:
        text = path.read_text()[at:] if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        at += len(whole)
        yield [json.loads(line) for line in whole.splitlines()]


def _number(output: str) -> int:
    """The run's number in what `flwr run --format json` said."""
    start, end = output.find("{"), output.rfind("}")
    try:
        return int(json.loads(output[start : end + 1])["run-id"])
    except (ValueError, KeyError, TypeError):
        raise FederationError(f"`flwr run` said: {output}") from None
