"""Finds the files in hospitals' formats in a folder, by their content."""

from pathlib import Path

from fl.datasets.readers.exports.formats.content import SUFFIXES, kind_of, without_suffix
from fl.datasets.readers.exports.formats.format import Format
from fl.datasets.record_discovery import WFDB_PARTS, walk
from fl.util.errors import UnusableRecord

# Files of WFDB records, tables and texts: these are not opened to see what they are.
_OTHERS = (
    *(".hea", *WFDB_PARTS),
    *(".csv", ".tsv", ".txt", ".md", ".json", ".toml", ".py", ".log", ".pdf", ".png", ".zip"),
)


def hospital_files(folder: Path) -> dict[str, list[Path]]:
    """Path of each such file by the name of its record; more than one where names are the same.

    A record's name is its path in the folder without the suffix of its format (`ward/e1` for
    `ward/e1.dcm`).
    """
    found: dict[str, list[Path]] = {}
    for parent, _, files in walk(folder):
        for path in (parent / file for file in files):
            if is_hospital_file(path):
                name = without_suffix(path.relative_to(folder).as_posix())
                found.setdefault(name, []).append(path)
    return found


def hospital_file(folder: Path, name: str) -> Path | None:
    """The file of one record; None if there is none. `UnusableRecord` if there are two."""
    if any((folder / f"{name}{suffix}").exists() for suffix in (".hea", ".HEA")):
        return None  # a WFDB record
    paths = [path for suffix in ("", *SUFFIXES) if _readable(path := folder / f"{name}{suffix}")]
    if len(paths) > 1:
        files = " and ".join(path.name for path in paths[:2])
        raise UnusableRecord(name, "bad-header", f"{files} would be one record; rename one")
    return paths[0] if paths else None


def is_hospital_file(path: Path) -> bool:
    """Whether a file found in a folder has one of the formats; some suffixes need no look."""
    if path.name.startswith(".") or path.name == "RECORDS":
        return False
    return not path.name.lower().endswith(_OTHERS) and _readable(path)


def _readable(path: Path) -> bool:
    """Whether it is a file of one of the formats, and no pipe, which never ends."""
    try:
        return path.is_file() and isinstance(kind_of(path), Format)
    except OSError:
        return False
