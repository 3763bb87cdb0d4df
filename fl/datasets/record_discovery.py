"""Finds the records of a data set: flat or in subfolders, listed in a RECORDS file or not.

Symbolic links to files and folders are followed. A link to a folder that is read anyway, such as
one to a folder above it, is not: it would have no end. `unfollowed_links` names such links, and
those that lead nowhere.
"""

import os
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from fl.datasets.base import Card
from fl.datasets.readers.wfdb_segments import segments_of
from fl.util.errors import DataError, UnusableRecord

# Files of a WFDB record beside its header: signals, annotations, Frank leads, a viewer's settings.
WFDB_PARTS = (".dat", ".mat", ".atr", ".qrs", ".xyz", ".xws")
DATA_SUFFIXES = (".hea", ".mat", ".dat", ".atr", ".csv")


def record_stems(folder: Path) -> dict[str, Path]:
    """Path without suffix of each record, by name: those that exist and those that RECORDS lists.

    Segments of a record are read with it and are no records. A record's name is the name of its
    file. If two subfolders have the same name, the later one keeps its subfolder (`g2/A0001`).
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
    for current, folders, files in walk(folder):
        # A folder with the name of a header is a record too, but one that cannot be read.
        headers = {entry[:-4] for entry in files + folders if entry.lower().endswith(".hea")}
        existing |= {current / name for name in headers - segments_among(current, headers, files)}
        if "RECORDS" in files:
            lines = _lines(current / "RECORDS")
            listed |= {stem for line in lines if (stem := _listed_stem(current, line))}
    return existing, listed


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder with the names of its subfolders and of its files, links included, sorted."""
    yield from ((path, folders, files) for path, folders, files, _ in _walk(folder))


def unfollowed_links(folder: Path) -> list[str]:
    """Paths in the folder of links that lead to a folder that is read anyway, or nowhere.

    A record whose own file is a link that leads nowhere has a verdict, and is not named here.
    """
    links = [path / link for path, _, _, links in _walk(folder) for link in links]
    return [link.relative_to(folder).as_posix() for link in links if not _is_data(link.name)]


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str], list[str]]]:
    """As `walk`, with the links that are not followed. Real folders come before any link."""
    seen = {_identity(above) for above in folder.resolve().parents}  # a link to one has no end
    folders, links = deque([folder]), deque[Path]()
    while folders or links:
        current = folders.popleft() if folders else links.popleft()
        identity = _identity(current)
        if identity in seen:
            yield current.parent, [], [], [current.name]
        elif identity is not None:
            seen.add(identity)
            entries = _entries(current)
            inside = [entry.name for entry in entries if entry.is_dir()]
            outside = [entry.name for entry in entries if entry.is_dir() and entry.is_symlink()]
            links += [current / name for name in outside]
            folders += [current / name for name in inside if name not in outside]
            broken = [e.name for e in entries if e.is_symlink() and not Path(e.path).exists()]
            yield current, inside, [e.name for e in entries if not e.is_dir()], broken


def _identity(folder: Path) -> tuple[int, int] | None:
    """What a folder is whatever its path; None if it cannot be looked at."""
    try:
        state = folder.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def _is_data(name: str) -> bool:
    return name.lower().endswith(DATA_SUFFIXES) or name == "RECORDS"


def segments_among(folder: Path, headers: set[str], files: list[str]) -> set[str]:
    """Records of a folder that are segments of another one, which has no signal of its own."""
    with_signal = {f[:-4] for f in files if f.lower().endswith((".dat", ".mat"))}
    segments: set[str] = set()
    for name in headers - with_signal:
        segments |= segments_of(folder / name) - {name}
    return segments


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
        parent / file for parent, _, files in walk(folder) for file in files if _is_data(file)
    )
