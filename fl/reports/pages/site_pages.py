"""The pages of a run's sites, written by as many processes as are worth their start."""

import multiprocessing
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from fl.explain.run_networks import RunNetworks
from fl.reports.figures.most_wrong import Recordings
from fl.reports.figures.svg import Drawing
from fl.reports.pages.site_page import site_page
from fl.reports.pages.site_view import view_of_site
from fl.reports.run_files import Run, read_run
from fl.training.device import one_thread
from fl.util.atomic_io import write_atomically
from fl.util.child_process import end_with_parent
from fl.util.cores import available_cores

WORTH_A_PROCESS = 8.0  # s of pages; a process takes half as long to load what draws them
MOST_PROCESSES = 4  # each takes some 400 MB


def write_site_pages(run: Run, sites: Sequence[str], own: Drawing | None = None) -> None:
    """report/sites/<site>.html of these sites, the same whoever writes them.

    `own`: how the model arranges a real hospital's examples. Pages are written here one by one
    until the others, if each takes as long as the last, are worth more processes.
    """
    recordings = Recordings(run.facts)
    for number, site in enumerate(sites):
        began = time.monotonic()
        _write_one(run, site, recordings, own)
        rest = sites[number + 1 :]
        processes = min(available_cores(), MOST_PROCESSES, len(rest))
        seconds = (time.monotonic() - began) * len(rest)
        if own is None and processes > 1 and seconds > WORTH_A_PROCESS:
            _write_in_parallel(run, rest, recordings, processes - 1)
            break


def page_of(run: Run, site: str) -> Path:
    """Where the page of a site is."""
    return run.folder / "report" / "sites" / f"{site}.html"


def write_page(path: Path, text: str) -> None:
    """Write a page, and the folder that it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def _write_one(run: Run, site: str, recordings: Recordings, own: Drawing | None = None) -> None:
    networks = RunNetworks(run.folder, run.config, run.main, site)
    text = site_page(view_of_site(run, site), recordings, networks, own)
    write_page(page_of(run, site), text)


def _write_in_parallel(
    run: Run, sites: Sequence[str], recordings: Recordings, processes: int
) -> None:
    """The other processes begin at the last page, and this one at the first, until they meet."""
    with ProcessPoolExecutor(
        # Not `fork`: the threads of torch and of Ray do not survive it.
        processes,
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(run.folder,),
    ) as pool:
        try:
            pages = {site: pool.submit(_write_here, site) for site in reversed(sites)}
            for site in sites:
                if pages[site].cancel():
                    _write_one(run, site, recordings)
            for site in sites:
                if not pages[site].cancelled():
                    try:
                        pages[site].result()
                    except BrokenProcessPool:  # ended from outside, for example for memory
                        _write_one(run, site, recordings)
        finally:
            pool.shutdown(cancel_futures=True)


_worker: tuple[Run, Recordings] | None = None  # of this process


def _begin(folder: Path) -> None:
    """Read the run once in each process. Ctrl-C is for the command that started it."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    one_thread()
    run = read_run(folder)
    _worker = run, Recordings(run.facts)


def _write_here(site: str) -> None:
    assert _worker is not None
    _write_one(_worker[0], site, _worker[1])
