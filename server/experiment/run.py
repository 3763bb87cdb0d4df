"""One run, from recordings to results: preprocess, deal, train, write, show."""

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from flwr.clientapp import ClientApp
from rich.console import Console

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare_all
from fl.datasets.source_selection import SourceSelection, select_sources
from fl.ecg.tasks import TASKS
from fl.evaluation.strategy_comparison import comparison
from fl.messages.job import Job
from fl.reports.build import write_report
from fl.reports.figures.label_mix import label_mix_svg
from fl.reports.tensorboard import TensorBoard
from fl.reports.terminal.partition_tables import (
    device_line,
    left_out,
    non_iid_line,
    partition_table,
)
from fl.reports.terminal.progress import PreprocessingProgress, make_view
from fl.reports.terminal.result_tables import print_results
from fl.runs.listener import Listener
from fl.runs.results import RunSummary, write_summary
from fl.runs.run_record import RunRecord, shard_facts
from fl.util.atomic_io import write_atomically
from partitions.build import check_holdout, make_partition
from partitions.device_skew import recorder_facts
from partitions.partition import Partition, read_partition, write_partition
from partitions.summary import non_iid, site_rows, unmeasurable
from server.app import server_app
from server.engines.ray_workers import WorkerPool, available_cores
from server.engines.simulation import simulate
from server.rounds.training_results import TrainingResult


@dataclass(frozen=True, kw_only=True)
class Session:
    """What all runs of one call of the command share."""

    client_app: ClientApp
    console: Console
    quiet: bool
    pages: bool
    tensorboard: bool
    cache_dir: Path | None  # None: the default
    pool: WorkerPool | None  # under Ray: its workers, which start while the records are prepared


def select_run_sources(config: RunConfig) -> SourceSelection:
    """The run's sources; `ConfigError` if they cannot be had or its holdout is none."""
    choice = select_sources(config)
    check_holdout(config, choice)
    return choice


def run_once(
    session: Session,
    config: RunConfig,
    choice: SourceSelection,
    record: RunRecord,
    last: bool = True,
) -> None:
    """One run in its directory, from where it stopped if it did; the `last` ends the workers."""
    try:
        began = time.monotonic()
        shards = preprocess(session, config, choice)
        cohort, partition = make_or_read_partition(config, choice, shards, record)
        record.content["seconds"]["data"] = round(time.monotonic() - began, 3)
        describe(session, config, choice, record, cohort, partition)
        parts = train(session, config, shards, record, len(partition.sites))
        if last and session.pool is not None:
            session.pool.leave()
        summary = summarise(config, choice, parts)
        write_summary(record.folder, summary)
        record.update(status="completed")
    except BaseException as error:
        record.update(status="failed", error=f"{type(error).__name__}: {error}")
        raise
    if session.pages:
        write_report(record.folder)
    print_results(session.console, summary, choice.synthetic)
    session.console.print(left_out(record.content["data"]))
    session.console.print(f"Results: {record.folder}")


def preprocess(session: Session, config: RunConfig, choice: SourceSelection) -> list[Path]:
    """Cache folder of each source."""
    cache_dir = session.cache_dir or default_cache_dir()
    workers = config.workers or available_cores()
    root, task = Path(config.data_dir), TASKS[config.task]
    with PreprocessingProgress(session.console, session.quiet) as steps:
        found = prepare_all(choice.sources, root, task, cache_dir, workers, steps.step)
    return list(found.values())


def make_or_read_partition(
    config: RunConfig, choice: SourceSelection, shards: list[Path], record: RunRecord
) -> tuple[Cohort, Partition]:
    """The cohort and its partition: dealt and written, or read again when a run goes on."""
    cohort, copies = Cohort.open(TASKS[config.task], shards).without_duplicates()
    facts = [shard_facts(shard, copies) for shard in cohort.shards]
    record.require_same_data(facts)
    path = record.folder / "partition.csv"
    if path.exists():
        partition = read_partition(path, cohort)
    else:
        partition = make_partition(config, choice, cohort)
        write_partition(path, cohort, partition)
    record.update(data=facts)
    return cohort, partition


def describe(
    session: Session,
    config: RunConfig,
    choice: SourceSelection,
    record: RunRecord,
    cohort: Cohort,
    partition: Partition,
) -> None:
    """Say, draw and write down who holds what."""
    console, rows = session.console, site_rows(cohort, partition)
    lacking, apart = unmeasurable(cohort, partition), non_iid(cohort, partition)
    devices = recorder_facts(config.skews, cohort.task, config.seed, partition.sites)
    record.update(status="running", sites=rows, not_measurable_centrally=lacking)
    record.update(non_iid=apart, devices=devices)
    picture = label_mix_svg(
        [row for row in rows if row["site"] in partition.sites],
        cohort.task.classes,
        apart,
        bool(choice.synthetic),
    )
    write_atomically(record.folder / "partition.svg", picture)
    if not session.quiet:
        console.print(partition_table(rows, cohort.task.classes))
        console.print(non_iid_line(apart))
        for name, faults in devices.items():
            console.print(device_line(name, faults))
    if lacking:
        console.print(f"No central test record shows {', '.join(lacking)}: n/a there.")


def train(
    session: Session, config: RunConfig, shards: list[Path], record: RunRecord, n_sites: int
) -> list[TrainingResult]:
    """Every training of the run; run.json is told of each at its end."""
    job = Job(
        config=config,
        strategy=config.strategy,
        workspace=str(record.folder.resolve()),
        shards=tuple(str(path) for path in shards),
        n_sites=n_sites,
    )
    parts: list[TrainingResult] = []

    def finished(part: TrainingResult) -> None:
        parts.append(part)
        keys = ("rounds", "best_round", "gradient_steps", "lr")
        record.update(
            failures=[{"strategy": p.name, **failure} for p in parts for failure in p.failures],
            trainings={p.name: {key: getattr(p.summary, key) for key in keys} for p in parts},
        )

    began = time.monotonic()
    with ExitStack() as stack:
        listener: Listener = stack.enter_context(closing(make_view(session.console, session.quiet)))
        if session.tensorboard:
            curves = TensorBoard(record.folder / "tensorboard", listener)
            listener = stack.enter_context(closing(curves))
        simulate(server_app(listener, finished), session.client_app, job, n_sites, session.pool)
    record.content["seconds"]["training"] = round(time.monotonic() - began, 3)
    return parts


def summarise(
    config: RunConfig, choice: SourceSelection, parts: list[TrainingResult]
) -> RunSummary:
    """The content of summary.json."""
    strategies = {part.name: part.summary for part in parts}
    summary = RunSummary(
        task=config.task,
        synthetic=bool(choice.synthetic),
        classes=TASKS[config.task].classes,
        strategies=strategies,
    )
    if not config.compare:
        return summary
    compared = comparison(
        strategies,
        [part.predictions for part in parts],
        config.seed,
        rounds=config.rounds,
        local_epochs=config.local_epochs,
    )
    return summary.model_copy(update={"comparison": compared})
