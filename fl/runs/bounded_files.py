"""Reads a run directory's files while others may be writing them, and whatever they hold.

A run directory may come from elsewhere: a file in it may be half written, far too large, a link to
another place, or no file at all. Each of these is a `DataError` that names the file.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

from fl.util.errors import DataError

MOST_BYTES = 64 * 2**20  # of a file that is read as a whole
REMEDY = "Name a run directory, e.g. runs/20260101-120000."


def read_bounded(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes; a link is not followed."""
    # Without O_NONBLOCK, to open a named pipe would wait for a writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags)
    except OSError as error:
        reason = "a link" if path.is_symlink() else error.strerror
        raise DataError(f"{path}: cannot be read ({reason}). {REMEDY}") from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path}: is no regular file. {REMEDY}")
        try:
            content = file.read(min(found.st_size, most) + 1)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). {REMEDY}") from None
    if max(len(content), found.st_size) > most:
        raise DataError(f"{path}: has more than {most} bytes, which no run writes. {REMEDY}")
    return content


def read_json(path: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """The object in one of a run directory's files; `DataError` if there is none."""
    content = read_bounded(path, most)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):  # the latter by brackets within brackets
        raise DataError(f"{path}: is not valid JSON. {REMEDY}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds no object. {REMEDY}")
    return found
