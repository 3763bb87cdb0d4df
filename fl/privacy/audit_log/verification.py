"""Whether an audit log is whole: each line carries the SHA-256 of the line before it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fl.privacy.audit_log.chain import (
    MOST_BYTES,
    NOTHING,
    Head,
    line_digest,
    read_line,
    torn_event,
)
from fl.privacy.audit_log.log_file import first_line, log_files


@dataclass
class Verified:
    """What was found in a log, up to its end or to its first broken line."""

    files: int = 0
    lines: int = 0
    first: int = 0  # number of the first line that is there
    head: Head = NOTHING
    began: str = ""  # time of the first line that is there
    ended: str = ""
    torn: int = 0  # parts of lines that were set aside
    last_is_torn: bool = False  # the next line will set it aside
    lost: int = 0  # events that could not be written, as the log states
    removed: list[dict[str, Any]] = field(default_factory=list)  # what it states of removed files
    kept_line: int = 0  # number of the line with the digest that was asked for; 0: none
    broken: str = ""  # the first broken line, and what is wrong with it


@dataclass(frozen=True)
class Place:
    """A line as it stands in a file."""

    file: Path
    number: int  # of the line in the file, from 1 on
    line: bytes

    def __str__(self) -> str:
        return f"{self.file.name}, line {self.number}"


def verify(folder: Path, kept: str = "") -> Verified:
    """Read a whole log; `kept`: a digest that was kept elsewhere, to be found in it.

    `OSError` if a file cannot be read.
    """
    files = log_files(folder)
    found, check = Verified(files=len(files)), _Check()
    for file in files:
        for place in places(file):
            check.take(place, found, kept)
            if found.broken:
                return found
        if check.pending and file != files[-1]:
            found.broken = f"{check.pending[0]}: is no line of an audit log"
            return found
    found.torn += len(check.pending)
    found.last_is_torn = bool(check.pending)
    _check_beginning(files, found, check.before_first)
    if kept and not found.kept_line and not found.broken:
        found.broken = (
            f"no line has the SHA-256 {kept}: the lines up to it were changed or taken out since "
            "it was kept"
        )
    return found


def places(file: Path) -> Iterator[Place]:
    """The lines of a file; one that is longer than any that is written comes in parts."""
    with file.open("rb") as opened:
        number = 0
        while line := opened.readline(MOST_BYTES + 2):
            number += 1
            yield Place(file, number, line.removesuffix(b"\n"))


class _Check:
    """The state between two lines."""

    def __init__(self) -> None:
        self.pending: list[Place] = []  # no whole lines; a line after them must state them
        self.before_first = ""  # the digest that the first line carries

    def take(self, place: Place, found: Verified, kept: str) -> None:
        """Check one more line, and note it in `found`."""
        line = read_line(place.line)
        if line is None:
            self.pending.append(place)
            return
        number = int(line["line"])
        if self.pending:
            if not self._states_pending(line):
                found.broken = f"{self.pending[0]}: is no line of an audit log"
                return
            found.torn += len(self.pending)
            self.pending.clear()
        elif line["event"] == "torn":
            found.broken = f"{place}: states a torn line that is not there"
            return
        if not found.lines:
            found.first, self.before_first = number, line["previous"]
            found.head = Head(number - 1, line["previous"])
            found.began = line["time"]
        found.broken = _fault(place, number, line["previous"], found.head)
        if found.broken:
            return
        found.head = Head(number, line_digest(place.line))
        found.lines, found.ended = found.lines + 1, line["time"]
        if kept == found.head.sha256:
            found.kept_line = number
        if line["event"] == "removed":
            found.removed.append(line)
        if line["event"] == "lost" and type(line.get("lines")) is int:
            found.lost += line["lines"]

    def _states_pending(self, line: dict[str, Any]) -> bool:
        stated = torn_event([place.line for place in self.pending])
        return all(line.get(name) == value for name, value in stated.items())


def _fault(place: Place, number: int, previous: str, head: Head) -> str:
    """What is wrong with a line after `head`; empty if nothing is."""
    expected = head.line + 1
    if number > expected:
        missing = (
            f"line {expected} is"
            if number == expected + 1
            else (f"lines {expected} to {number - 1} are")
        )
        return f"{place}: is line {number} of the log, and {missing} missing before it"
    if number < expected:
        return f"{place}: is line {number} of the log, where line {expected} should stand"
    if previous != head.sha256:
        return (
            f"line {head.line} of the log was changed: {place}, which is line {number}, carries "
            f"another SHA-256 of it (or was changed itself)"
        )
    return ""


def _check_beginning(files: Sequence[Path], found: Verified, before_first: str) -> None:
    """The log begins with line 1, or its first line follows on a file that it states as removed."""
    if found.broken or not found.lines:
        return
    if first_line(files[0]) != found.first:
        found.broken = f"{files[0].name}: begins with line {found.first} of the log"
    elif found.first == 1:
        if before_first != NOTHING.sha256:
            found.broken = f"{files[0].name}, line 1: is not the beginning of a log"
    elif not any(
        isinstance(r.get("lines"), list)
        and r["lines"][-1:] == [found.first - 1]
        and r.get("last") == before_first
        for r in found.removed
    ):
        found.broken = (
            f"{files[0].name}, line 1: is line {found.first} of the log; the lines before it are "
            "missing, and no line states that they were removed"
        )
