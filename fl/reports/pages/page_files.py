"""The pages of a run as files, written by as many processes as are worth their start."""

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from fl.explain.run_networks import RunNetworks
from fl.reports.figures.most_wrong import Recordings
from fl.reports.figures.svg import Drawing
from fl.reports.pages.federation_page import federation_page
from fl.reports.pages.page_pool import Page, PagePool, other_processes
from fl.reports.pages.site_page import site_page
from fl.reports.pages.site_view import view_of_site
from fl.reports.run_files import Run, read_run
from fl.util.atomic_io import write_atomically

INDEX = Path("report") / "index.html"  # in a run directory
WORTH_A_PROCESS = 8.0  # s of pages; a process takes half as long to load what draws them
AHEAD = 2  # pages that a process is given at a time, so that it need not wait for the next


def write_pages(
    run: Run, pages: Sequence[Page], own: Drawing | None = None, pool: PagePool | None = None
) -> None:
    """These pages of a run, the same whoever writes them.

    `own`: how the model arranges a real hospital's examples, which only this process knows.
    `pool`: other processes, if they were started before. Without them pages are written here one by
    one until the others, if each takes as long as the last, are worth more processes.
    """
    recordings = Recordings(run.facts)
    if pool is not None and own is None:
        _write_in_parallel(run, pages, recordings, pool)
        return
    for number, page in enumerate(pages):
        began = time.monotonic()
        _write_one(run, page, recordings, own)
        rest = pages[number + 1 :]
        seconds = (time.monotonic() - began) * len(rest)
        if own is None and seconds > WORTH_A_PROCESS and (others := other_processes(len(rest))):
            with PagePool(others) as started:
                _write_in_parallel(run, rest, recordings, started)
            break


def write_index(run: Run) -> None:
    """report/index.html of a run."""
    write_page(run.folder / INDEX, federation_page(run))


def page_of(run: Run, site: str) -> Path:
    """Where the page of a site is."""
    return run.folder / "report" / "sites" / f"{site}.html"


def write_page(path: Path, text: str) -> None:
    """Write a page, and the folder that it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def _write_one(run: Run, page: Page, recordings: Recordings, own: Drawing | None = None) -> None:
    if page is None:
        write_index(run)
        return
    networks = RunNetworks(run.folder, run.config, run.main, page)
    text = site_page(view_of_site(run, page), recordings, networks, own)
    write_page(page_of(run, page), text)


def _write_in_parallel(
    run: Run, pages: Sequence[Page], recordings: Recordings, pool: PagePool
) -> None:
    """The other processes begin at the last page, and this one at the first, until they meet."""
    left, elsewhere = deque(pages), dict[Page, Future[None]]()
    while left:
        # Not all at once, to cancel some: a pool that breaks while it holds a cancelled one never
        # ends (Python 3.11).
        most = pool.processes * (AHEAD if len(left) > AHEAD * pool.processes else 1)
        waiting = sum(not written.done() for written in elsewhere.values())
        with suppress(BrokenProcessPool):  # then all that are left are written here
            for _ in range(min(most - waiting, len(left) - 1)):
                elsewhere[left[-1]] = pool.write(run.folder, left[-1])
                left.pop()
        _write_one(run, left.popleft(), recordings)
    for page, written in elsewhere.items():
        try:
            written.result()
        except BrokenProcessPool:  # ended from outside, for example for memory
            _write_one(run, page, recordings)


def write_page_of(folder: Path, page: Page) -> None:
    """Write a page of a completed run that another process has in its memory."""
    run, recordings = _read_once(folder)
    _write_one(run, page, recordings)


@lru_cache(maxsize=1)
def _read_once(folder: Path) -> tuple[Run, Recordings]:
    run = read_run(folder)
    return run, Recordings(run.facts)
