"""Keeps two processes from writing into one run directory."""

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fl.util.errors import ConfigError

LOCK = Path("checkpoint") / "lock"  # in the run directory
PATIENCE = 0.3  # seconds; who only looks whether a run is going holds a lock for far less


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the run directory while this lasts; `ConfigError` if another process holds it.

    The lock is one of the kernel's (flock(2)) and ends with the process that holds it, however it
    ends: the file that a killed run leaves behind locks nothing. Where the file system has no
    locks, one line says so.
    """
    path = folder / LOCK
    try:
        path.parent.mkdir(exist_ok=True)
        # Python's files are closed in a program that is started: none of ours inherits the lock.
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror}). Copy it to a folder you may write to."
        ) from None
    try:
        _hold(handle, folder)
        yield
    finally:
        os.close(handle)


def _hold(handle: int, folder: Path) -> None:
    """Take the lock, and write into its file who has it."""
    until = time.monotonic() + PATIENCE
    while not _locked(handle, folder):
        if time.monotonic() < until:
            time.sleep(0.02)
            continue
        holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
        raise ConfigError(
            f"{folder}: another process is writing there ({holder or 'unknown'}). Wait until it "
            f"has ended, or stop it; then go on with --resume {folder}"
        )
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _locked(handle: int, folder: Path) -> bool:
    """Whether the lock is ours now; also where the file system has none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        print(
            f"{folder}: cannot be locked ({error.strerror}). Start no second run in it.",
            file=sys.stderr,
        )
    return True
