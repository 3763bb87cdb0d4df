"""Files of a folder that belong to no record, by what they are."""

from collections.abc import Collection
from pathlib import Path

from fl.datasets.readers.exports.formats.content import Other, kind_of
from fl.datasets.readers.exports.formats.discovery import is_hospital_file
from fl.datasets.record_discovery import WFDB_PARTS, walk

WITHOUT_HEADER = "a signal or annotations without a header"
TEXT = "a text or a table"
UNREADABLE = "a file that cannot be opened"


def unread_files(folder: Path, known: Collection[str]) -> dict[str, list[str]]:
    """Kind -> paths in the folder of files that are neither a record, a part of one, nor `known`.

    `known` are names of files that are read, such as tables. Files whose name begins with a dot
    are the system's, and are not looked at.
    """
    found: dict[str, list[str]] = {}
    for parent, _, files in walk(folder):
        stems = {file[:-4] for file in files if file.lower().endswith(".hea")}
        for file in files:
            path = parent / file
            part = file.rpartition(".")[0] in stems
            if part or file in known or file.startswith(".") or is_hospital_file(path):
                continue
            found.setdefault(_kind(path), []).append(path.relative_to(folder).as_posix())
    return found


def _kind(path: Path) -> str:
    if path.suffix.lower() in WFDB_PARTS:
        return WITHOUT_HEADER
    try:
        kind = kind_of(path) if path.is_file() else None
    except OSError:
        return UNREADABLE
    return kind.name if isinstance(kind, Other) else TEXT
