"""The pages and the drawing of a run, made when its training is over.

The modules that make them load matplotlib and scikit-learn, which takes longer than the first round
of a small run. This is the only way to them from `server.experiment`, so that no training waits.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from fl.reports.pages.page_pool import PagePool, other_processes
from fl.reports.shown_sites import shown_sites
from fl.runs.run_record import RunRecord
from fl.util.atomic_io import write_atomically
from fl.util.imports.fast_import import import_fast
from server.experiment.prepare import PreparedRun

MOST_DRAWN = 1000  # sites in partition.svg
LONG = 60.0  # s of training; a process for pages takes some seconds of a core to load


def page_pool(
    wanted: bool, prepared: PreparedRun, record: RunRecord
) -> AbstractContextManager[PagePool | None]:
    """Processes for the pages of a run that has trained; None without pages or if it was short.

    How long its pages take is not known yet, and after a long training their start costs little.
    """
    others = other_processes(len(prepared.sites) + 1)
    long = float(record.content["seconds"]["training"]) >= LONG
    return PagePool(others) if wanted and long and others else nullcontext()


def write_report(folder: Path, pool: PagePool | None = None) -> None:
    """Write the pages of a run directory, and the cards beside the weights."""
    import_fast("fl.reports.build")
    from fl.reports import build

    build.write_report(folder, pool)


def write_models(folder: Path) -> None:
    """Write only what the weights need beside them: their cards."""
    from fl.reports import build

    build.write_models(folder)


def draw_partition(folder: Path, prepared: PreparedRun) -> None:
    """Draw who holds what: partition.svg in a run directory."""
    import_fast("fl.reports.figures.label_mix")
    from fl.reports.figures.label_mix import label_mix_svg

    rows = {str(row["site"]): row for row in prepared.sites}
    people = {site: int(str(rows[site]["patients"])) for site in prepared.partition.sites}
    picture = label_mix_svg(
        [rows[site] for site in shown_sites(people, MOST_DRAWN, MOST_DRAWN)],
        prepared.cohort.task.classes,
        prepared.non_iid,
        bool(prepared.selection.synthetic),
    )
    write_atomically(folder / "partition.svg", picture)
