"""Writes a file completely or not at all."""

import os
import tempfile
from pathlib import Path

from fl.util.private_files import FILE


def write_atomically(path: Path, content: bytes, mode: int = FILE, synced: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    The file is for its owner alone, whatever the umask; once it is whole, as `mode` says. If there
    is no room, the OSError names the file. Without `synced` the file is whole whenever a process
    ends or is killed, but it may be lost when the machine itself stops.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # the error of a full disk does not name the file
        Path(temporary).unlink(missing_ok=True)
        raise
