"""A run over folds of the sites' patients: one run for each fold, and all of them as one."""

from fl.config.run_config import RunConfig
from fl.reports.terminal.notices import simulated_note
from fl.reports.terminal.partition_tables import fold_lines, left_out
from fl.reports.terminal.result_tables import print_results
from fl.runs.run_record import RunRecord
from server.experiment.fold_merge import merge_folds
from server.experiment.pages import write_report
from server.experiment.parts import Part, marked_if_it_fails, run_parts
from server.experiment.run import Session, run_once
from server.experiment.transfer import record_transfer


def run_with_folds(
    session: Session, config: RunConfig, record: RunRecord, last: bool = True
) -> None:
    """One run; with folds one for each of them, and the results of all together."""
    if not config.each_fold:
        run_once(session, config, record, last)
        return
    parts = [Part(name=f"fold-{k}", config=config.for_fold(k)) for k in config.each_fold]
    with marked_if_it_fails(record):
        names = [part.name for part in parts]
        record.update(status="running", site_folds=config.site_folds, folds=names)
        merged = merge_folds(config, run_parts(session, record, parts, run_once, last))
        merged.write(record.folder)
        if session.transfer:  # of every fold's test patients, which are all
            record_transfer(record, session.transfer, config)
        record.update(**merged.facts, status="completed")
    if session.options.pages:
        write_report(record.folder)
    console = session.console
    print_results(console, merged.summary, session.selection.synthetic)
    if config.simulated_rare:
        console.print(simulated_note(config.simulated_rare))
    console.print(fold_lines(record.content))
    console.print(left_out(record.content["data"]))
    console.print(f"Results: {record.folder}")
