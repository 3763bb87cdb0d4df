"""A run's page kept up to date by server-sent events, from the run directory alone."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from fl.runs.history_tables import ROUNDS, SITES
from fl.runs.run_progress import CHECKPOINT, MOST_PARTS, RUN_FILE
from fl.runs.run_state import RUNNING, is_held
from heartfed.web.runs.view import sections_of

MOST_LISTENERS = 24  # pages that are kept up to date at the same time
LOOK = 1.0  # seconds between two looks at a run directory
REDRAW = 5.0  # seconds after which the time left is written again
HEARTBEAT = 15.0  # seconds without a change after which a comment is sent
View = Callable[[], dict[str, Any] | None]


class Listeners:
    """How many pages listen; each costs a look at a run directory every second."""

    def __init__(self, most: int = MOST_LISTENERS) -> None:
        self._most, self._now, self._lock = most, 0, threading.Lock()

    @property
    def now(self) -> int:
        return self._now

    def enter(self) -> bool:
        """Whether one more may listen; who may calls `leave` at the end."""
        with self._lock:
            if self._now >= self._most:
                return False
            self._now += 1
            return True

    def leave(self) -> None:
        """One listens no more."""
        with self._lock:
            self._now -= 1


async def events(
    request: Request, folder: Path, view: View, closing: threading.Event, listeners: Listeners
) -> AsyncIterator[str]:
    """Server-sent events until the run is over, the page is left, or the server ends.

    The first event has every section of the page, since the run may have gone on after the page
    was made; a later one those that changed. The last event is `over`, or `full` if as many pages
    listen already as may.
    """
    if not listeners.enter():
        yield event("full", {})
        return
    try:
        sent: dict[str, str] = {}
        seen: object = None
        quiet = old = 0.0
        while not closing.is_set() and not await request.is_disconnected():
            now = await run_in_threadpool(changes_of, folder)
            if now != seen or old >= REDRAW:
                seen, old = now, 0.0
                found = await run_in_threadpool(view)
                if found is None:
                    break
                sections = await run_in_threadpool(sections_of, found)
                changed = {k: html for k, html in sections.items() if sent.get(k) != html}
                if changed:
                    sent, quiet = sections, 0.0
                    yield event("changed", {"sections": changed, "headline": found["headline"]})
                if found["state"] != RUNNING:
                    break
            if quiet >= HEARTBEAT:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(LOOK)
            quiet, old = quiet + LOOK, old + LOOK
        yield event("over", {})
    finally:
        listeners.leave()


def event(name: str, content: dict[str, Any]) -> str:
    """One event; JSON has no line ends, which would end it."""
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


def changes_of(folder: Path) -> tuple[object, ...]:
    """Something that differs once the run has written, or has ended."""
    return (is_held(folder), *_stamps(folder))


def _stamps(folder: Path, depth: int = 2) -> Iterator[tuple[str, int, int]]:
    for name in (RUN_FILE, ROUNDS, SITES, "report"):
        yield from _stamp(folder / name)
    with contextlib.suppress(OSError), os.scandir(folder / CHECKPOINT) as entries:
        for entry in entries:
            yield from _stamp(Path(entry.path))
    if depth:
        for part in sorted(folder.glob("[sf]*-[0-9]*"))[:MOST_PARTS]:
            yield from _stamps(part, depth - 1)


def _stamp(path: Path) -> Iterator[tuple[str, int, int]]:
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        yield str(path), found.st_mtime_ns, found.st_size
