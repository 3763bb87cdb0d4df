"""Start a run: check the machine, make the run directory, start Ray, run each seed."""

from contextlib import ExitStack, closing
from pathlib import Path

from flwr.clientapp import ClientApp
from rich.console import Console

from fl.config.run_config import RunConfig
from fl.config.run_options import RunOptions
from fl.datasets.source_selection import SourceSelection
from fl.reports.tensorboard import check_tensorboard
from fl.reports.terminal.notices import simulated_note, synthetic_notice
from fl.runs.run_record import RunRecord, make_run_folder
from fl.training.device import check_device
from server.engines.ray_cluster import check_cluster
from server.engines.ray_workers import WorkerPool
from server.experiment.multi_seed import run_repeats
from server.experiment.run import Session
from server.experiment.site_folds import run_with_folds
from server.rounds.initial_weights import read_origin, transfer_of


def launch(
    config: RunConfig,
    options: RunOptions,
    selection: SourceSelection,
    client_app: ClientApp,
    console: Console,
) -> Path:
    """One run, or one for each seed and fold; returns the run directory."""
    check_device(config.device)
    if config.ray_address:
        check_cluster(config.ray_address)
    if options.tensorboard:
        check_tensorboard()
    if selection.synthetic:
        console.print(synthetic_notice(selection.synthetic))
    if config.simulated_rare:
        console.print(simulated_note(config.simulated_rare))
    # Before there is a run directory; a resumed run may not need the file any more.
    origin = read_origin(config) if options.resume is None else None
    record = _open_record(config, options, selection)
    if origin is not None:
        record.update(transfer=origin.facts.to_json())
    with ExitStack() as stack:
        pool = None
        # Ray takes seconds to start: it does so while the recordings are preprocessed.
        if config.engine == "ray" and not config.ray_address:
            pool = stack.enter_context(closing(WorkerPool(config, ["clients.app"])))
        session = Session(
            client_app=client_app,
            console=console,
            options=options,
            selection=selection,
            pool=pool,
            transfer=transfer_of(record),
        )
        if config.seeds:
            run_repeats(session, config, record)
        else:
            run_with_folds(session, config, record)
    return record.folder


def _open_record(config: RunConfig, options: RunOptions, selection: SourceSelection) -> RunRecord:
    """The run directory: a new one, or the one to continue in."""
    if options.resume is None:
        return RunRecord.new(
            make_run_folder(options.out, options.name), config, selection.synthetic
        )
    record = RunRecord.read(options.resume)
    record.record_resumption()
    return record
