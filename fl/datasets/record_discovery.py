"""Finds the records of a data set: flat or in subfolders, listed in a RECORDS file or not."""

import os
from functools import lru_cache
from pathlib import Path

from fl.datasets.base import Card
from fl.util.errors import DataError, UnusableRecord

DATA_SUFFIXES = (".hea", ".mat", ".dat", ".atr", ".csv")


def record_stems(folder: Path) -> dict[str, Path]:
    """Path without suffix of each record, by name: those that exist and those that RECORDS lists.

    A record's name is the name of its file. If two subfolders have the same name, the later one
    keeps its subfolder (`g2/A0001`).
    """
    stems: dict[str, Path] = {}
    existing, listed = _stems(folder)
    # Paths in RECORDS may start at another folder, so a record is missing only if its name is.
    names = {path.name for path in existing}
    paths = existing.union({p.name: p for p in sorted(listed) if p.name not in names}.values())
    for path in sorted(paths, key=lambda p: (p.name, len(p.parts), p)):
        name = path.name if path.name not in stems else path.relative_to(folder).as_posix()
        stems[name] = path
    return stems


def _stems(folder: Path) -> tuple[set[Path], set[Path]]:
    """Records that have a header, and records that a RECORDS file lists."""
    existing, listed = set(), set()
    for parent, folders, files in os.walk(folder):
        current = Path(parent)
        # A folder with the name of a header is a record too, but one that cannot be read.
        existing |= {current / entry[:-4] for entry in files + folders if entry.endswith(".hea")}
        if "RECORDS" in files:
            lines = _lines(current / "RECORDS")
            listed |= {stem for line in lines if (stem := _listed_stem(current, line))}
    return existing, listed


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []  # the existing records are found without it


def _listed_stem(folder: Path, line: str) -> Path | None:
    """The record that a line of RECORDS names; None for a subfolder or a path out of `folder`."""
    entry = line.strip()
    parts = entry.split("/")
    if not entry or entry.endswith("/") or ".." in parts or "" in parts or not entry.isprintable():
        return None
    return folder.joinpath(*parts)


@lru_cache(maxsize=32)
def _index(folder: Path) -> dict[str, Path]:
    return record_stems(folder)


def find_stem(folder: Path, name: str) -> Path:
    """Path without suffix of one record; `UnusableRecord` if there is no such record."""
    if "/" not in name and "\\" not in name and (folder / f"{name}.hea").is_file():
        return folder / name
    if name not in _index(folder):
        _index.cache_clear()
    stem = _index(folder).get(name)
    if stem is None:
        raise UnusableRecord(name, "missing-file", f"no header in {folder.name}")
    return stem


def require_records(card: Card, folder: Path, names: list[str], expected: str) -> list[str]:
    """The names of a data set's records, sorted; `DataError` with the next step if none."""
    if names:
        return sorted(names)
    problem = "no records in it" if folder.is_dir() else "no such folder"
    step = (
        f"Fetch it with `python -m fl.datasets download {card.name}`"
        if card.url
        else "Put it there"
    )
    raise DataError(
        f"{folder}: {problem}. {card.title} is expected there as {expected}. "
        f"{step}, or name the data folder with --data-dir."
    )


def data_files(folder: Path) -> list[Path]:
    """Every file of the folder whose content can change what is read from it, sorted."""
    return sorted(
        Path(parent) / file
        for parent, _, files in os.walk(folder)
        for file in files
        if file.endswith(DATA_SUFFIXES) or file == "RECORDS"
    )
