"""Which recordings a command line names: files, folders, patterns, lists and standard input."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fl.datasets.readers.exports.formats.discovery import is_hospital_file
from fl.datasets.record_discovery import WFDB_PARTS, segments_among, walk
from fl.util.errors import ConfigError

STANDARD_INPUT = "-"
TABLES = (".csv", ".tsv")  # a text may be anything, and is read only if it is named
TABLES_OF_LABELS = ("labels.csv",)  # of an own folder: no recording


@dataclass(kw_only=True)
class Listed:
    """The recordings in the order in which they were named, and what was not one."""

    names: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # a line for what names no recording
    others: Counter[str] = field(default_factory=Counter)  # suffix -> files that are no recording

    def left_out(self) -> str:
        """The files of folders that are no recordings, by suffix; "" if there are none."""
        kinds = ", ".join(f"{n:,} {suffix}" for suffix, n in sorted(self.others.items()))
        return f"not recordings, and left out: {kinds}" if kinds else ""


def recordings_named(arguments: Sequence[str], lists: Sequence[Path] = ()) -> Listed:
    """The recordings that arguments and list files name.

    An argument is a recording, a folder (all recordings below it), a pattern with `*`, `?` or
    `**`, or `-`: names on standard input, one a line. A relative name in a list file is meant from
    the folder of the command. Raises ConfigError for a list that cannot be read.
    """
    listed = Listed()
    for argument in arguments:
        _add(listed, argument)
    for path in lists:
        for name in _lines(path):
            _add(listed, name)
    return listed


def _add(listed: Listed, argument: str) -> None:
    if argument == STANDARD_INPUT:
        for name in _names(sys.stdin):
            _add_path(listed, name)
    else:
        _add_path(listed, argument)


def _add_path(listed: Listed, text: str) -> None:
    path = Path(text)
    if path.is_dir():
        found = _below(path, listed.others)
        listed.names += found
        if not found:
            listed.errors.append(
                f"{text}: no recording in it. Expected: WFDB headers (.hea), files of "
                "hospitals' formats or CSV files."
            )
    elif glob.has_magic(text) and not path.exists():
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            listed.errors.append(f"{text}: no file matches the pattern.")
        for match in _without_parts(matches):
            _add_path(listed, match)
    else:
        listed.names.append(text)


def _without_parts(paths: Sequence[str]) -> list[str]:
    """The paths without files of a record whose header is among them too."""
    stems = {os.path.splitext(path)[0] for path in paths if _suffix(path) == ".hea"}
    return [
        path
        for path in paths
        if _suffix(path) not in WFDB_PARTS or os.path.splitext(path)[0] not in stems
    ]


def _below(folder: Path, others: Counter[str]) -> list[str]:
    """The recordings in a folder and those below it, sorted; links are followed as by `walk`."""
    found = []
    for parent, _, files in walk(folder):
        stems = {file[:-4] for file in files if _suffix(file) == ".hea"}
        # A segment is read as a part of its record.
        segments = segments_among(parent, stems, files)
        for file in files:
            path, suffix, stem = parent / file, _suffix(file), os.path.splitext(file)[0]
            if suffix == ".hea" and stem in segments:
                continue
            is_table = suffix in TABLES and file not in TABLES_OF_LABELS
            if suffix == ".hea" or is_table or is_hospital_file(path):
                found.append(str(path))
            elif stem not in stems or suffix not in WFDB_PARTS:
                others[suffix or "without a suffix"] += 1
    return sorted(found)


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return list(_names(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(
            f"--list {path}: cannot be read ({reason}). Name a text file with one recording a line."
        ) from None


def _names(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if name := line.strip():
            yield name


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
