"""Writes the pages and model cards of a completed run, only from its files."""

from pathlib import Path

from fl.explain.run_networks import RunNetworks
from fl.reports.arrangement import arrangement_drawing
from fl.reports.card import write_cards
from fl.reports.figures.most_wrong import Recordings
from fl.reports.figures.svg import Drawing
from fl.reports.own_card import write_own_cards
from fl.reports.pages.federation_page import federation_page
from fl.reports.pages.seeds_page import seeds_page
from fl.reports.pages.site_page import site_page
from fl.reports.pages.site_view import view_of_site
from fl.reports.run_files import Run, is_repeated, read_run
from fl.runs.results import read_seeds
from fl.util.atomic_io import write_atomically
from fl.util.errors import DataError

INDEX = Path("report") / "index.html"


def write_report(folder: Path) -> None:
    """report/index.html, report/sites/<site>.html and weights/<strategy>.md of a run directory.

    Of very many hospitals those with the most patients have a page. For a parent of seed-*/ runs:
    an index over the seeds, and the pages of those that have none
    yet. `DataError` if the folder holds no completed run.
    """
    if is_repeated(folder):
        _write_repeated(folder)
        return
    run = read_run(folder)
    _write_models(run)
    recordings = Recordings(run.facts)
    # A real hospital's page is written there, from records and predictions that never leave it:
    # its coordinator knows none of its records.
    # So at a real hospital the whole run is one hospital's, and its picture is on its page.
    own = arrangement_drawing(folder) if run.deployed else None
    for site in sorted(run.dealt & set(run.shown)):
        _write_site(run, site, recordings, own)
    write_index(run)


def write_site_page(folder: Path, site: str) -> Path:
    """The page of one hospital of a simulation, whichever it is: of very many not all have one.

    `DataError` if the folder holds no completed run, or not this hospital.
    """
    run = read_run(folder)
    if site not in run.dealt:
        named = ", ".join(run.shown[:3])
        raise DataError(f"{folder}: no records are known of {site!r}. Its hospitals: {named}, ...")
    return _write_site(run, site, Recordings(run.facts), None)


def _write_site(run: Run, site: str, recordings: Recordings, own: Drawing | None) -> Path:
    networks = RunNetworks(run.folder, run.config, run.main, site)
    path = run.folder / "report" / "sites" / f"{site}.html"
    _write(path, site_page(view_of_site(run, site), recordings, networks, own))
    return path


def write_models(folder: Path) -> None:
    """weights/<strategy>.json and .md of a completed run, for a run that has no pages.

    A model cannot be used without its .json, which has its task, thresholds and calibration.
    """
    _write_models(read_run(folder))


def _write_models(run: Run) -> None:
    write_cards(run)
    write_own_cards(run)


def write_index(run: Run) -> None:
    """report/index.html of a run."""
    _write(run.folder / INDEX, federation_page(run))


def seed_folders(folder: Path) -> list[Path]:
    """The run directories of a repeated run, in the order of its seeds."""
    return [folder / f"seed-{seed}" for seed in read_seeds(folder).seeds]


def _write_repeated(folder: Path) -> None:
    parts = seed_folders(folder)
    for part in parts:
        if not (part / INDEX).is_file():
            write_report(part)
    _write(folder / INDEX, seeds_page(folder, read_seeds(folder), [read_run(p) for p in parts]))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
