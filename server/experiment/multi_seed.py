"""The same run with several seeds, each in its own directory, and the spread of the results."""

from fl.config.run_config import RunConfig
from fl.evaluation.seed_summary import over_seeds
from fl.reports.terminal.comparison_tables import print_seeds
from fl.runs.results import read_summary, write_seeds
from fl.runs.run_record import RunRecord
from server.experiment.pages import write_report
from server.experiment.parts import Part, marked_if_it_fails, run_parts
from server.experiment.run import Session
from server.experiment.site_folds import run_with_folds


def run_repeats(session: Session, config: RunConfig, record: RunRecord) -> None:
    """One run for each seed, and the summary over them."""
    record.content.pop("seed", None)
    parts = [Part(name=f"seed-{n}", config=config.for_seed(n)) for n in config.each_seed]
    with marked_if_it_fails(record):
        record.update(status="running", seeds=list(config.each_seed))
        folders = run_parts(session, record, parts, run_with_folds, last=True)
        summaries = map(read_summary, folders)
        spread = over_seeds(dict(zip(config.each_seed, summaries, strict=True)))
        write_seeds(record.folder, spread)
        record.update(status="completed")
    if session.options.pages:
        write_report(record.folder)
    print_seeds(session.console, spread, session.selection.synthetic)
    session.console.print(f"Results: {record.folder}")
