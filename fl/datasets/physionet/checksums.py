"""The published SHA-256 sums of a data set's files, kept beside them in SHA256SUMS.txt."""

import re
from pathlib import Path

from fl.util.atomic_io import write_atomically
from fl.util.file_digest import file_digest

SUMS = "SHA256SUMS.txt"
SHARED = 0o644  # rights of the file: a published data set may be there for all of a machine's users
RELATIVE_PATH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # no `..`, no absolute path


def write_sums(folder: Path, sums: dict[str, str]) -> None:
    """Write the sums, by path in the folder, in the format of `sha256sum`."""
    lines = (f"{digest}  {file}\n" for file, digest in sorted(sums.items()))
    write_atomically(folder / SUMS, "".join(lines).encode(), SHARED)


def altered_files(folder: Path) -> list[str]:
    """Files of the folder that differ from the published sums beside them, sorted.

    Empty if there are no sums.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    altered = []
    for line in lines:
        digest, path = parse_line(line)
        in_folder = RELATIVE_PATH.fullmatch(path) and (folder / path).is_file()
        if in_folder and file_digest(folder / path) != digest:
            altered.append(path)
    return sorted(altered)


def parse_line(line: str) -> tuple[str, str]:
    """Digest and path of a line of a list of sums; a `*` before the path marks a binary file."""
    digest, _, path = line.strip().partition(" ")
    return digest, path.strip().removeprefix("*")
