"""The files of an audit log: lines are added under a lock, and never changed.

A file is named by the number of its first line and holds the lines of one month, at most
`most_lines` of them. Files whose last line is older than `keep_days` are removed when a new file
begins; a line in the new file states each removal, so that the chain stays whole.

Whoever was stopped in the middle of a line leaves a part of it. It stays where it is; the next
line states it (`torn`), and the chain goes on from the last whole line.
"""

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from fl.privacy.audit_log.chain import (
    MOST_BYTES,
    NOTHING,
    Head,
    line_digest,
    make_line,
    read_line,
    torn_event,
)
from fl.util.private_files import FILE, FOLDER

FOLDER_NAME = "audit"  # in the folder of a site or of a federation
LOCK = ".lock"
FILE_NAME = re.compile(r"audit-(\d{9,18})\.jsonl")
KEEP_DAYS = 2190  # six years, as 45 CFR 164.316(b)(2) demands of records of such activities
MOST_DAYS = 36_500
MOST_LINES = 10_000  # of a file
LOCK_SECONDS = 10.0  # within which another process must have added its lines
TAIL = 4 * MOST_BYTES  # bytes at the end of a file, in which its last line is looked for


def time_now() -> datetime:
    """The time that a line is given, in UTC."""
    return datetime.now(UTC)


class LogBusy(OSError):
    """Another process holds the lock of the log, and does not give it back."""


class AuditLog:
    """An audit log in a folder of its own; any number of processes may add to it."""

    def __init__(
        self, folder: Path, keep_days: int = KEEP_DAYS, most_lines: int = MOST_LINES
    ) -> None:
        self.folder, self._keep_days, self._most_lines = folder, keep_days, most_lines
        self._lost = 0  # events that could not be written

    def append(self, *events: Mapping[str, Any]) -> Head:
        """Add a line for each event, on the disk when this returns; the last of them.

        An event is a mapping with `event`, its name. `OSError` if the lines cannot be written,
        as on a full disk: the next ones then state how many are missing (`lost`).
        """
        try:
            with self._locked():
                head = self._append(events)
        except OSError:
            self._lost += len(events)
            raise
        self._lost = 0
        return head

    def try_append(self, *events: Mapping[str, Any]) -> Head | None:
        """The same, with a warning in the program's log where the lines cannot be written."""
        try:
            return self.append(*events)
        except OSError as error:
            warn_unwritten(self.folder, error)
            return None

    def head(self) -> Head:
        """The last whole line; `OSError` if the log cannot be read."""
        return find_end(log_files(self.folder)).head

    def _append(self, events: Sequence[Mapping[str, Any]]) -> Head:
        files, now = log_files(self.folder), time_now()
        end = find_end(files)
        pending = [*self._stated_before(end), *events]
        path, old = end.path, list[Path]()
        if not end.torn and (path is None or self._is_full(path, end, now)):
            path = self.folder / f"audit-{end.head.line + 1:09}.jsonl"
            old, removals = self._removals(files, now)
            pending = [*removals, *pending]
        assert path is not None  # a part of a line is in a file
        lines, head = [], end.head
        for event in pending:
            stamp = now.isoformat(timespec="milliseconds")
            line = make_line(head.line + 1, stamp, event, head.sha256)
            lines.append(line)
            head = Head(head.line + 1, line_digest(line))
        write_lines(path, (b"\n" if end.unterminated else b"") + b"\n".join(lines) + b"\n")
        for file in old:
            file.unlink(missing_ok=True)
        return head

    def _stated_before(self, end: "End") -> Iterator[dict[str, Any]]:
        if end.torn:
            yield torn_event(end.torn)
        if self._lost:
            yield {"event": "lost", "lines": self._lost}

    def _is_full(self, path: Path, end: "End", now: datetime) -> bool:
        begun = end.time[:7]  # year and month
        full = end.head.line - first_line(path) + 1 >= self._most_lines
        return full or (bool(begun) and begun != now.isoformat()[:7])

    def _removals(
        self, files: Sequence[Path], now: datetime
    ) -> tuple[list[Path], list[dict[str, Any]]]:
        """The files to remove, the oldest first, and an event for each."""
        old, events = [], []
        oldest = (now - timedelta(days=self._keep_days)).isoformat()
        for file in files if self._keep_days else ():
            end = find_end([file])
            if end.head is NOTHING or end.time >= oldest:
                break
            old.append(file)
            lines = [first_line(file), end.head.line]
            events.append(
                {"event": "removed", "file": file.name, "lines": lines}
                | {"last": end.head.sha256, "until": end.time, "keep-days": self._keep_days}
            )
        return old, events

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        self.folder.chmod(FOLDER)
        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE)
        try:
            os.fchmod(handle, FILE)
            end = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise LogBusy(
                            f"another process holds {self.folder / LOCK} for {LOCK_SECONDS:g} s"
                        ) from None
                    time.sleep(0.005)
            yield
        finally:
            os.close(handle)


@lru_cache(maxsize=16)
def shared_log(folder: Path, keep_days: int = KEEP_DAYS) -> AuditLog:
    """The log of a folder, one for all who write to it here: it counts what was not written."""
    return AuditLog(folder, keep_days)


def warn_unwritten(folder: Path, error: OSError) -> None:
    """Say in the program's log that the audit log lacks a line."""
    logging.getLogger("heartfed").warning("the audit log %s cannot be written: %s", folder, error)


@dataclass(frozen=True)
class End:
    """Where a log ends: its last whole line, and parts of lines after it."""

    path: Path | None  # its last file
    head: Head = NOTHING
    time: str = ""  # of the last whole line
    torn: tuple[bytes, ...] = ()
    unterminated: bool = False  # whether the last file does not end with a line end


def log_files(folder: Path) -> list[Path]:
    """The files of a log, in order of their lines."""
    try:
        found = [path for path in folder.iterdir() if FILE_NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    return sorted(found, key=first_line)


def first_line(path: Path) -> int:
    """Number of the first line of a file, by its name."""
    match = FILE_NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def find_end(files: Sequence[Path]) -> End:
    """The end of the log in these files, which are in order."""
    torn: list[bytes] = []
    unterminated = False
    for path in reversed(files):
        for size in (TAIL, None):
            parts, whole = _last_parts(path, size)
            kept: list[bytes] = []
            found = None
            while parts and (found := read_line(parts[-1])) is None:
                kept.append(parts.pop())
            if found is not None or whole:
                break
        if path == files[-1]:
            unterminated = not _is_terminated(path)
        torn = [*reversed(kept), *torn]
        if found is not None:
            head = Head(int(found["line"]), line_digest(parts[-1]))
            return End(files[-1], head, str(found["time"]), tuple(torn), unterminated)
    return End(files[-1] if files else None, NOTHING, "", tuple(torn), unterminated)


def _last_parts(path: Path, size: int | None) -> tuple[list[bytes], bool]:
    """Lines at the end of a file, whole or torn; and whether these are all of the file."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        start = 0 if size is None else max(0, length - size)
        file.seek(start)
        parts = file.read().split(b"\n")
    if parts[-1] == b"":
        parts.pop()
    return (parts if start == 0 else parts[1:]), start == 0


def _is_terminated(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def write_lines(path: Path, content: bytes) -> None:
    """Add to a file, which is made for its owner alone, and wait until the disk has it."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    new = not path.exists()
    handle = os.open(path, flags, FILE)
    try:
        os.fchmod(handle, FILE)
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if new:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
