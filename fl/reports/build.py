"""Writes the pages and model cards of a completed run, only from its files."""

from pathlib import Path

from fl.reports.arrangement import arrangement_drawing
from fl.reports.card import write_cards
from fl.reports.own_card import write_own_cards
from fl.reports.pages.page_files import INDEX, page_of, write_page, write_pages
from fl.reports.pages.page_pool import PagePool
from fl.reports.pages.seeds_page import seeds_page
from fl.reports.run_files import Run, is_repeated, read_run
from fl.runs.results import read_seeds
from fl.util.errors import DataError


def write_report(folder: Path, pool: PagePool | None = None) -> None:
    """report/index.html, report/sites/<site>.html and weights/<strategy>.md of a run directory.

    Of very many hospitals those with the most patients have a page. For a parent of seed-*/ runs:
    an index over the seeds, and the pages of those that have none
    yet. `DataError` if the folder holds no completed run. `pool`: processes for a run's pages, if
    they were started before.
    """
    if is_repeated(folder):
        _write_repeated(folder)
        return
    run = read_run(folder)
    _write_models(run)
    # A real hospital's page is written there, from records and predictions that never leave it:
    # its coordinator knows none of its records.
    # So at a real hospital the whole run is one hospital's, and its picture is on its page.
    own = arrangement_drawing(folder) if run.deployed else None
    write_pages(run, [*sorted(run.dealt & set(run.shown)), None], own, pool)


def write_site_page(folder: Path, site: str) -> Path:
    """The page of one hospital of a simulation, whichever it is: of very many not all have one.

    `DataError` if the folder holds no completed run, or not this hospital.
    """
    run = read_run(folder)
    if site not in run.dealt:
        named = ", ".join(run.shown[:3])
        raise DataError(f"{folder}: no records are known of {site!r}. Its hospitals: {named}, ...")
    write_pages(run, [site])
    return page_of(run, site)


def write_models(folder: Path) -> None:
    """weights/<strategy>.json and .md of a completed run, for a run that has no pages.

    A model cannot be used without its .json, which has its task, thresholds and calibration.
    """
    _write_models(read_run(folder))


def _write_models(run: Run) -> None:
    write_cards(run)
    write_own_cards(run)


def seed_folders(folder: Path) -> list[Path]:
    """The run directories of a repeated run, in the order of its seeds."""
    return [folder / f"seed-{seed}" for seed in read_seeds(folder).seeds]


def _write_repeated(folder: Path) -> None:
    parts = seed_folders(folder)
    for part in parts:
        if not (part / INDEX).is_file():
            write_report(part)
    write_page(folder / INDEX, seeds_page(folder, read_seeds(folder), [read_run(p) for p in parts]))
