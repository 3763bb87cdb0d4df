"""The files of one record: found by the record's own name, whatever the case of their suffix."""

from pathlib import Path

from fl.util.errors import UnusableRecord


def own_file(stem: Path, suffix: str) -> Path:
    """`stem` with `suffix` as it is on disk: `.hea`, `.HEA` or `.Hea`; as given if there is none.

    `suffix` may have capitals itself, as a header may write it.
    """
    for spelled in dict.fromkeys(
        (suffix, suffix.lower(), suffix.upper(), f".{suffix[1:].capitalize()}")
    ):
        path = stem.parent / f"{stem.name}{spelled}"
        if path.exists() or path.is_symlink():
            return path
    return stem.parent / f"{stem.name}{suffix}"


def read_own_file(path: Path, name: str) -> bytes:
    """Content of a record's own file; `UnusableRecord` if there is none that can be read."""
    require_file(path, name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableRecord(name, "missing-file", f"{path.name}: {error.strerror}") from None


def require_file(path: Path, name: str) -> None:
    """`UnusableRecord` unless there is a regular file: no folder, and no pipe without an end."""
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        if path.is_symlink():
            problem = "is a link to a file that does not exist"
        raise UnusableRecord(name, "missing-file", f"{path.name} {problem}")


def shown(text: str) -> str:
    """A value of a header as an error may show it: short, and never what is not text."""
    return repr(text[:20]) if text.isprintable() else "something unreadable"
