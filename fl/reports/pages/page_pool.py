"""Processes that write pages of a run beside the process that has made it.

This module loads nothing that draws, so that a process can start and load it while the run still
ends.
"""

import atexit
import multiprocessing
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

from fl.util.child_process import end_with_parent, exit_immediately
from fl.util.cores import available_cores
from fl.util.imports.fast_import import import_fast

Page = str | None  # the site that a page is of; None: the index
MOST_PROCESSES = 4  # with this one; each takes some 400 MB


def other_processes(pages: int) -> int:
    """How many processes beside this one can write so many pages at a time."""
    return max(0, min(available_cores(), MOST_PROCESSES, pages) - 1)


class PagePool:
    """Processes that load what draws pages as soon as they start, and write those they are given.

    A process that was ended from outside makes `write` or its future raise `BrokenProcessPool`.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        # Not `fork`: the threads of torch and of Ray do not survive it.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(processes, context, initializer=_begin)
        for _ in range(processes):
            self._pool.submit(_start)  # a process starts with what it is first given

    def write(self, folder: Path, page: Page) -> Future[None]:
        """Let one of them write a page of a completed run."""
        return self._pool.submit(_write, folder, page)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()


def _begin() -> None:
    """Ctrl-C is for the command that started this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    atexit.register(exit_immediately, 0)
    import_fast("fl.training.device").one_thread()


def _start() -> None:
    _load()  # and not the module itself, which cannot be sent back


def _load() -> ModuleType:
    return import_fast("fl.reports.pages.page_files")


def _write(folder: Path, page: Page) -> None:
    _load().write_page_of(folder, page)
