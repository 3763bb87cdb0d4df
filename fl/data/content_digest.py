"""One checksum over all files of a data set, so that a change of any of them is noticed."""

import hashlib
import json
from pathlib import Path

from fl.datasets.base import Source
from fl.util.atomic_io import write_atomically
from fl.util.file_digest import file_digest


def content_digest(source: Source, root: Path, cache_dir: Path) -> str:
    """SHA-256 over the names and contents of the source's files, in hexadecimal digits.

    A file whose size and modification time are as they were is not read again: `digests.json` in
    `cache_dir` holds what was computed before.
    """
    memo_path = cache_dir / "digests.json"
    memo: dict[str, list[object]] = _read_json(memo_path)
    total, changed = hashlib.sha256(), False
    for file in source.files(root):
        try:
            stat = file.stat()
            size_and_time = [stat.st_size, stat.st_mtime_ns]
            key = str(file.resolve())
            entry = memo.get(key)
            if entry is None or entry[:2] != size_and_time:
                entry = [*size_and_time, file_digest(file)]
                memo[key], changed = entry, True
            total.update(f"{file.name}:{entry[2]}\n".encode())
        except (OSError, ValueError) as error:
            # An unreadable file, or a folder in its place: reading that record gives the verdict.
            total.update(f"{file.name}:{type(error).__name__}\n".encode())
    if changed:
        write_atomically(memo_path, json.dumps(memo).encode())
    return total.hexdigest()


def _read_json(path: Path) -> dict[str, list[object]]:
    try:
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}
