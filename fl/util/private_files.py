"""Files and folders that their owner alone may read, whatever the umask of who starts a program."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILE, FOLDER = 0o600, 0o700
OTHERS = 0o077  # the rights of a file's group and of everybody else


@contextmanager
def private_files() -> Iterator[None]:
    """Whatever is written inside, also by programs that are started, is for its owner alone.

    The umask is a process's own, not a thread's: this is for a program's first function.
    """
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def private_opener(path: str, flags: int) -> int:
    """For `open(..., opener=private_opener)`: a file that is made is for its owner alone."""
    return os.open(path, flags, FILE)


def make_private(path: Path) -> bool:
    """Take a file or folder away from all but its owner; whether others had rights to it.

    Links are not followed, and what belongs to somebody else is left as it is.
    """
    try:
        mode = path.lstat().st_mode
        if path.is_symlink() or not mode & OTHERS:
            return False
        path.chmod(mode & ~OTHERS & 0o7777)
    except (FileNotFoundError, PermissionError):
        return False
    return True


def make_tree_private(folder: Path) -> int:
    """The same for a file, or a folder and all that it holds; how many others had rights to.

    Folders come first, so that nobody else looks on meanwhile.
    """
    changed = int(make_private(folder))
    if not folder.is_dir() or folder.is_symlink():
        return changed
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            changed += make_tree_private(path)
    return changed
