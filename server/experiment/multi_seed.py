"""The same run with several seeds, each in its own directory, and the spread of the results."""

from pathlib import Path

from fl.config.run_config import RunConfig
from fl.evaluation.seed_summary import over_seeds
from fl.reports.build import write_report
from fl.reports.terminal.comparison_tables import print_seeds
from fl.runs.results import read_summary, write_seeds
from fl.runs.run_record import RunRecord
from server.experiment.run import Session, run_once


def run_repeats(session: Session, config: RunConfig, record: RunRecord) -> None:
    """One run for each seed; those that are complete are kept, one that stopped continues."""
    record.content.pop("seed", None)
    try:
        for seed in config.each_seed:
            record.update(status="running", seeds=list(config.each_seed))
            folder = record.folder / f"seed-{seed}"
            if not session.options.quiet:
                session.console.rule(f"seed {seed}")
            last = seed == config.each_seed[-1]
            _run_seed(session, config.for_seed(seed), folder, last)
        folders = {seed: record.folder / f"seed-{seed}" for seed in config.each_seed}
        spread = over_seeds({seed: read_summary(folder) for seed, folder in folders.items()})
        write_seeds(record.folder, spread)
        record.update(status="completed")
    except BaseException as error:
        record.update(status="failed", error=f"{type(error).__name__}: {error}")
        raise
    if session.options.pages:
        write_report(record.folder)
    print_seeds(session.console, spread, session.selection.synthetic)
    session.console.print(f"Results: {record.folder}")


def _run_seed(session: Session, config: RunConfig, folder: Path, last: bool) -> None:
    if (folder / "run.json").exists():
        record = RunRecord.read(folder)
        if record.content["status"] == "completed":
            session.console.print(f"{folder} is complete and kept.")
            return
        record.record_resumption()
    else:
        folder.mkdir(exist_ok=True)
        record = RunRecord.new(folder, config, session.selection.synthetic)
    run_once(session, config, record, last)
