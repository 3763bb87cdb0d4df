"""Start a run: check the machine, make the run directory, start Ray, run each seed."""

import shutil
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from flwr.clientapp import ClientApp
from rich.console import Console

from fl.config.run_config import RunConfig
from fl.config.run_options import RunOptions
from fl.datasets.source_selection import SourceSelection
from fl.reports.tensorboard import check_tensorboard
from fl.reports.terminal.notices import simulated_note, synthetic_notice
from fl.runs.run_lock import run_lock
from fl.runs.run_record import RunRecord, make_run_folder
from fl.runs.run_state import own_command, resume_line
from fl.training.device import check_device
from fl.util.errors import ConfigError, DataError
from server.engines.ray_cluster import check_cluster
from server.engines.ray_workers import WorkerPool
from server.experiment.multi_seed import run_repeats
from server.experiment.prepare import PARTITION
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
    began_in = options.out.exists()
    with ExitStack() as held:
        record = _open_record(config, options, selection, held)
        try:
            if origin is not None:
                record.update(transfer=origin.facts.to_json())
            _run(config, options, selection, client_app, console, record)
        except (ConfigError, DataError):
            if options.resume is None:
                _remove_unbegun(record.folder, options.out, began_in)
            raise
        except KeyboardInterrupt:
            line = resume_line(record.folder, own_command(), options)
            raise KeyboardInterrupt(f"interrupted. Continue with:\n{line}") from None
    return record.folder


def _run(
    config: RunConfig,
    options: RunOptions,
    selection: SourceSelection,
    client_app: ClientApp,
    console: Console,
    record: RunRecord,
) -> None:
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


def _remove_unbegun(folder: Path, out: Path, keep_out: bool) -> None:
    """Remove a new run directory after a mistake, unless recordings were dealt in it."""
    if next(folder.rglob(PARTITION), None) is None:
        shutil.rmtree(folder)
        if not keep_out:
            with suppress(OSError):  # another run is in it
                out.rmdir()


def _open_record(
    config: RunConfig, options: RunOptions, selection: SourceSelection, held: ExitStack
) -> RunRecord:
    """The run directory: a new one, or the one to continue in; `held` keeps its lock."""
    if options.resume is None:
        folder = make_run_folder(options.out, options.name)
        held.enter_context(run_lock(folder))
        return RunRecord.new(folder, config, selection.synthetic)
    held.enter_context(run_lock(options.resume))
    # Read again: a run that has just ended may have written since its settings were read.
    record = RunRecord.read(options.resume)
    record.record_resumption()
    return record
