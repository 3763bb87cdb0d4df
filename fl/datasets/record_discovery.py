"""Where the records of a data set lie: flat or in subfolders, listed in RECORDS or not."""

import os
from functools import lru_cache
from pathlib import Path

from fl.datasets.base import Card
from fl.util.errors import DataError, UnusableRecord

DECIDING = (".hea", ".mat", ".dat", ".atr", ".csv")


def record_stems(folder: Path) -> dict[str, Path]:
    """Path without suffix of each record: those that lie there and those RECORDS promises.

    A record's name is its file's name; where two subfolders hold the same name, the later one
    keeps its subfolder (`g2/A0001`).
    """
    stems: dict[str, Path] = {}
    there, listed = _stems(folder)
    # RECORDS may count its paths from another folder, so only a name found nowhere is missing.
    names = {path.name for path in there}
    paths = there.union({p.name: p for p in sorted(listed) if p.name not in names}.values())
    for path in sorted(paths, key=lambda p: (p.name, len(p.parts), p)):
        name = path.name if path.name not in stems else path.relative_to(folder).as_posix()
        stems[name] = path
    return stems


def _stems(folder: Path) -> tuple[set[Path], set[Path]]:
    """Records whose header is there, and records that a RECORDS file lists."""
    there, listed = set(), set()
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        # A folder with a header's name is a record too: one that cannot be read.
        there |= {here / entry[:-4] for entry in files + folders if entry.endswith(".hea")}
        if "RECORDS" in files:
            listed |= {stem for line in _lines(here / "RECORDS") if (stem := _listed(here, line))}
    return there, listed


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []  # the records that lie there are found without it


def _listed(folder: Path, line: str) -> Path | None:
    """The record that a line of RECORDS names; None for a subfolder or a path that leads out."""
    entry = line.strip()
    parts = entry.split("/")
    if not entry or entry.endswith("/") or ".." in parts or "" in parts or not entry.isprintable():
        return None
    return folder.joinpath(*parts)


@lru_cache(maxsize=32)
def _index(folder: Path) -> dict[str, Path]:
    return record_stems(folder)


def find_stem(folder: Path, name: str) -> Path:
    """Path without suffix of one record; `UnusableRecord` if it is not there."""
    if "/" not in name and "\\" not in name and (folder / f"{name}.hea").is_file():
        return folder / name
    if name not in _index(folder):
        _index.cache_clear()
    stem = _index(folder).get(name)
    if stem is None:
        raise UnusableRecord(name, "missing-file", f"no header in {folder.name}")
    return stem


def require(card: Card, folder: Path, stems: list[str], expected: str) -> list[str]:
    """The names, sorted; `DataError` with the next step if there are none."""
    if stems:
        return sorted(stems)
    found = "no records in it" if folder.is_dir() else "no such folder"
    step = (
        f"Fetch it with `python -m fl.datasets download {card.name}`"
        if card.url
        else "Put it there"
    )
    raise DataError(
        f"{folder}: {found}. {card.title} is expected there as {expected}. "
        f"{step}, or name the data folder with --data-dir."
    )


def deciding_files(folder: Path) -> list[Path]:
    """Every file of the folder whose content decides what is read from it, sorted."""
    return sorted(
        Path(parent) / file
        for parent, _, files in os.walk(folder)
        for file in files
        if file.endswith(DECIDING) or file == "RECORDS"
    )
