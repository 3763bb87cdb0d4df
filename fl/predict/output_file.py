"""Where predictions are written: a new file or standard output, whole pieces only."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fl.util.errors import ConfigError
from fl.util.private_files import private_opener


class Output:
    """A new file, or standard output where `path` is None.

    Raises ConfigError for a file that exists already or cannot be made.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: BinaryIO | None = None
        if path is None:
            return
        try:
            # Predictions are of patients: the file is for its owner alone.
            self._file = open(path, "xb", buffering=0, opener=private_opener)  # noqa: SIM115
        except FileExistsError:
            raise ConfigError(f"--out {path}: exists already. Name a new file.") from None
        except OSError as error:
            raise ConfigError(
                f"--out {path}: cannot be written ({error.strerror}). Name another file."
            ) from None

    def write(self, text: str) -> None:
        """Write a piece at once. On an error nothing of it stays in the file."""
        if self._file is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        before = self._file.tell()
        content = memoryview(text.encode())
        try:
            while content:
                content = content[self._file.write(content) :]
        except BaseException:
            os.ftruncate(self._file.fileno(), before)
            self._file.seek(before)
            raise

    def closed_by_reader(self) -> int:
        """The exit code when whoever reads the standard output, such as `head`, has enough."""
        # Python writes what is left at its end, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1

    def __enter__(self) -> "Output":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
