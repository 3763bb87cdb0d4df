"""One run, from recordings to results: prepare, train, write, show."""

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
from flwr.clientapp import ClientApp
from rich.console import Console

from fl.config.run_config import RunConfig
from fl.config.run_options import RunOptions
from fl.datasets.source_selection import SourceSelection
from fl.ecg.tasks import TASKS
from fl.evaluation.strategy_comparison import comparison
from fl.privacy.differential_privacy.guarantee import guarantee_of
from fl.reports.privacy_text import privacy_sentences
from fl.reports.tensorboard import TensorBoard
from fl.reports.terminal.notices import simulated_note
from fl.reports.terminal.partition_tables import (
    device_line,
    left_out,
    non_iid_line,
    partition_table,
)
from fl.reports.terminal.progress import PreprocessingProgress, make_view
from fl.reports.terminal.result_tables import print_results
from fl.reports.units import units_in
from fl.runs.listener import Listener
from fl.runs.results import RunSummary, write_summary
from fl.runs.run_facts import PrivacyFacts, TransferFacts
from fl.runs.run_progress import remaining_of
from fl.runs.run_record import RunRecord
from fl.training.simulated_recordings import rare_class_counts
from partitions.splits import TRAIN
from server.app import server_app
from server.engines.ray_workers import WorkerPool
from server.engines.simulation import simulate
from server.experiment.device_check import check_gpu
from server.experiment.pages import draw_partition, page_pool, write_models, write_report
from server.experiment.prepare import PARTITION, PreparedRun, prepare
from server.experiment.transfer import record_transfer
from server.rounds.initial_weights import keep_initial_weights
from server.rounds.training_results import TrainingResult


@dataclass(frozen=True, kw_only=True)
class Session:
    """What all runs of one call of the command share."""

    client_app: ClientApp
    console: Console
    options: RunOptions
    selection: SourceSelection
    pool: WorkerPool | None  # under Ray: its workers, which start while the records are prepared
    transfer: TransferFacts | None = None  # the saved model that the call's runs start from


def run_once(session: Session, config: RunConfig, record: RunRecord, last: bool = True) -> None:
    """One run in its directory, from where it stopped if it did; the `last` ends the workers."""
    console, synthetic = session.console, session.selection.synthetic
    with ExitStack() as started:
        try:
            prepared = prepare_and_write(session, config, record)
            describe(session, prepared)
            results = train(session, config, record, prepared)
            if last and session.pool is not None:
                session.pool.leave()
            # They load what draws pages while this process draws the partition.
            writers = started.enter_context(page_pool(session.options.pages, prepared, record))
            summary = summarise(config, bool(synthetic), results)
            draw_partition(record.folder, prepared)
            write_summary(record.folder, summary)
            record.update(status="completed")
        except BaseException as error:
            record.update(status="failed", error=f"{type(error).__name__}: {error}")
            raise
        if session.options.pages:
            write_report(record.folder, writers)
        else:
            write_models(record.folder)
    print_results(console, summary, synthetic, units_in(config.task, record.content))
    if config.simulated_rare:
        console.print(simulated_note(config.simulated_rare))
    console.print(left_out(record.content["data"]))
    console.print(f"Results: {record.folder}")


def prepare_and_write(session: Session, config: RunConfig, record: RunRecord) -> PreparedRun:
    """The recordings and their partition, with partition.csv and run.json written."""
    began = time.monotonic()
    with PreprocessingProgress(session.console, session.options.quiet) as steps:
        cache = session.options.cache_dir
        prepared = prepare(config, session.selection, cache, steps.step, record)
    if not (record.folder / PARTITION).exists():
        prepared.write_partition(record.folder)
    if transfer := keep_initial_weights(record, config, session.transfer):
        session.console.print(record_transfer(record, transfer, config), soft_wrap=True)
    record.content["seconds"]["data"] = round(time.monotonic() - began, 3)
    record.update(
        data=prepared.data,
        status="running",
        sites=prepared.sites,
        not_measurable_centrally=prepared.not_measurable,
        non_iid=prepared.non_iid,
        devices=prepared.devices,
    )
    if config.simulated_rare:
        record.update(simulated_rare=simulated_at_sites(config, prepared))
    if config.device == "cuda":
        rows = np.flatnonzero(prepared.partition.split == TRAIN)
        if line := check_gpu(config, prepared.cohort.take(rows), cache):
            session.console.print(line, soft_wrap=True)
    return prepared


def simulated_at_sites(config: RunConfig, prepared: PreparedRun) -> dict[str, dict[str, int]]:
    """Site -> class -> simulated recordings that show it and join the site's training set."""
    rows, cohort = prepared.partition.rows, prepared.cohort
    return {
        site: rare_class_counts(cohort.take(rows(site, TRAIN)), config.simulated_rare)
        for site in prepared.partition.sites
    }


def describe(session: Session, prepared: PreparedRun) -> None:
    """Show who holds what."""
    if not session.options.quiet:
        print_sites(session.console, prepared)
    if prepared.not_measurable:
        lacking = ", ".join(prepared.not_measurable)
        session.console.print(f"No central test record shows {lacking}: n/a there.")


def print_sites(console: Console, prepared: PreparedRun) -> None:
    """The table of sites, how far they are apart, and what their recorders do."""
    task = prepared.cohort.task
    unit_at = units_in(task.name, {"data": prepared.data, "sites": prepared.sites})
    console.print(partition_table(prepared.sites, task.classes, unit_at))
    console.print(non_iid_line(prepared.non_iid))
    for name, faults in prepared.devices.items():
        console.print(device_line(name, faults))


def train(
    session: Session, config: RunConfig, record: RunRecord, prepared: PreparedRun
) -> list[TrainingResult]:
    """Every training of the run; each is added to run.json when it ends."""
    job = prepared.job(config, record.folder)
    if promised := guarantee_of(job.config):
        record.update(privacy=promised.to_json())
        facts = PrivacyFacts.from_json(promised.to_json(), "privacy")
        session.console.print(" ".join(privacy_sentences(facts)), soft_wrap=True)
    results: list[TrainingResult] = []

    def finished(result: TrainingResult) -> None:
        results.append(result)
        keys = ("rounds", "best_round", "gradient_steps", "lr")
        record.update(
            failures=[{"strategy": r.name, **failure} for r in results for failure in r.failures],
            trainings={r.name: {key: getattr(r.summary, key) for key in keys} for r in results},
        )

    began = time.monotonic()
    with ExitStack() as stack:
        remaining = remaining_of(record.folder, config.model_dump(), record.content)
        view = make_view(session.console, session.options.quiet, remaining)
        listener: Listener = stack.enter_context(closing(view))
        if session.options.tensorboard:
            curves = TensorBoard(record.folder / "tensorboard", listener)
            listener = stack.enter_context(closing(curves))
        app = server_app(listener, finished)
        simulate(app, session.client_app, job, job.n_sites, session.pool)
    record.content["seconds"]["training"] = round(time.monotonic() - began, 3)
    return results


def summarise(config: RunConfig, synthetic: bool, results: list[TrainingResult]) -> RunSummary:
    """The content of summary.json."""
    strategies = {result.name: result.summary for result in results}
    summary = RunSummary(
        task=config.task,
        synthetic=synthetic,
        classes=TASKS[config.task].classes,
        strategies=strategies,
    )
    if not config.compare:
        return summary
    compared = comparison(
        strategies,
        [result.predictions for result in results],
        config.seed,
        rounds=config.rounds,
        local_epochs=config.local_epochs,
        averaged=TASKS[config.task].trainable,
    )
    return summary.model_copy(update={"comparison": compared})
