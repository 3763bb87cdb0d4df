"""A few threads that read and answer uploads, and a queue before them."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fl.util.cores import available_cores

T = TypeVar("T")
MOST_WAITING = 100  # uploads


class Busy(Exception):
    """More uploads wait than are let in."""


class Workers:
    """Threads that end with the process, even in the middle of an answer: Ctrl-C does not wait.

    An upload waits before its body is read, so that what waits takes no memory.
    """

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads or max(1, min(4, available_cores()))
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._begun = False
        self._waiting = 0
        self._places = asyncio.Semaphore(self.threads + 1)  # one is read while the others compute

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place in which an upload may be received; `Busy` if too many wait for one."""
        if self._waiting >= MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, computed in one of the threads."""
        self._begin()
        future: Future[T] = Future()
        self._jobs.put((future, work))
        return await asyncio.wrap_future(future)

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        for number in range(self.threads):
            name = f"upload-{number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            future, work = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue  # whoever asked is gone
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
