"""`audit verify` and `audit show`, of a site and of a coordinator alike."""

import argparse
import json
import re
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fl.privacy.audit_log.chain import OWN, read_line
from fl.privacy.audit_log.log_file import log_files
from fl.privacy.audit_log.verification import Verified, places, verify
from fl.util.errors import ConfigError
from fl.util.one_line import one_line

ACTIONS = ("verify", "show")
WHAT = "the audit log: check that it is whole (verify), or print it (show)"
DIGEST = re.compile(r"[0-9a-fA-F]{64}")
TIME = re.compile(r"\d{4}(-\d\d(-\d\d(T[\d:.]*)?)?)?")
WIDEST = 600  # characters of a line that is shown


def add_audit_flags(command: argparse.ArgumentParser) -> None:
    """What `audit` takes, beside the folder that the log is in."""
    command.add_argument("--head", default="", help="verify: a SHA-256 that was kept elsewhere")
    command.add_argument("--event", default="", help="show: lines of this event alone")
    command.add_argument("--about", default="", metavar="SITE", help="show: lines of this site")
    command.add_argument("--run", default="", dest="of_run", help="show: lines of this run")
    command.add_argument("--since", default="", help="show: from this time on, as 2026-01-31 (UTC)")
    command.add_argument("--last", type=int, default=0, help="show: so many lines [all]")
    command.add_argument("--json", action="store_true", help="show: the lines as they are")


def audit(options: argparse.Namespace, folder: Path) -> int:
    """Check or print the log in a folder; 1 if it is broken."""
    try:
        if not log_files(folder):
            raise ConfigError(f"{folder}: holds no audit log. One begins with the first event.")
        return verify_log(options, folder) if options.action == "verify" else show(options, folder)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder}: cannot be read ({error.strerror})."
        ) from None


def verify_log(options: argparse.Namespace, folder: Path) -> int:
    """Print whether a log is whole, and its head; 1 if it is not, with its first broken line."""
    if options.head and not DIGEST.fullmatch(options.head):
        raise ConfigError(f"--head is {options.head!r}. It is a SHA-256, 64 hexadecimal digits.")
    found = verify(folder, options.head.lower())
    if found.broken:
        print(f"{folder}: broken. {found.broken}.", file=sys.stderr)
        return 1
    print(summary(folder, found))
    return 0


def summary(folder: Path, found: Verified) -> str:
    """What a log that is whole holds, in a few lines."""
    lines = [
        f"{folder}: whole. {found.lines} lines in {found.files} files, {found.began} to "
        f"{found.ended}"
    ]
    if found.removed:
        removed = [f"{r.get('file')} (lines {r.get('lines')})" for r in found.removed]
        lines.append(one_line(f"  removed after its time, as the log states: {', '.join(removed)}"))
    if found.torn:
        last = ", the last of which the next line will set aside" if found.last_is_torn else ""
        lines.append(
            f"  {found.torn} torn: a writer was stopped in the middle of a line{last}; each is an "
            "event that is not known"
        )
    if found.lost:
        lines.append(f"  {found.lost} events could not be written, on a full disk say")
    if found.kept_line:
        lines.append(f"  up to line {found.kept_line} it is as it was when that digest was kept")
    lines.append(f"  head: {found.head}")
    if not found.kept_line:
        lines.append(
            "  Whoever may write these files could have written all of them again. Keep the head "
            "elsewhere; `verify --head SHA256` finds it later."
        )
    return "\n".join(lines)


def show(options: argparse.Namespace, folder: Path) -> int:
    """Print the lines that the flags ask for."""
    if options.since and not TIME.match(options.since):
        raise ConfigError(f"--since is {options.since!r}. Give a day, as 2026-01-31.")
    if options.last < 0:
        raise ConfigError(f"--last is {options.last}. Give a number of lines, or 0 for all.")
    chosen = _chosen(options, folder)
    for line in deque(chosen, options.last) if options.last else chosen:
        print(json.dumps(line) if options.json else as_text(line))
    return 0


def _chosen(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    asked = {"event": options.event, "site": options.about, "run": options.of_run}
    for file in log_files(folder):
        for place in places(file):
            line = read_line(place.line)
            if line is None:
                print(f"{place}: no whole line", file=sys.stderr)
                continue
            wanted = all(not value or line.get(name) == value for name, value in asked.items())
            if wanted and line["time"] >= options.since:
                yield line


def as_text(line: dict[str, Any]) -> str:
    """A line for people: number, time, event, and its facts; a long digest is cut."""
    facts = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in line.items()
        if key not in OWN
    ]
    time = line["time"][:19]
    return one_line(f"{line['line']:>6} {time} {line['event']:<12} {' '.join(facts)}", WIDEST)
