"""How often a coordinator has asked in the last hour, kept in the site's folder."""

import fcntl
import json
import os
import time
from pathlib import Path

from fl.util.private_files import FILE

HOUR = 3600.0  # seconds
REQUESTS = "requests.json"  # kind -> times of the last hour, seconds since 1970


def count_request(folder: Path, kind: str, most: int) -> bool:
    """Whether one more request of this kind is within `most` an hour; if so it is counted.

    The count is in a file because a site may answer each request in a process of its own. What
    cannot be read counts as no request: it was written by this site alone.
    """
    handle = os.open(folder / REQUESTS, os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE)
    with os.fdopen(handle, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        now = time.time()
        times = _read(file.read())
        # A time in the future is of a clock that was put back: it must not count for ever.
        recent = [t for t in times.get(kind, []) if now - HOUR < t <= now]
        if len(recent) >= most:
            return False
        file.seek(0)
        file.truncate()
        json.dump(times | {kind: [*recent, now]}, file)
    return True


def _read(text: str) -> dict[str, list[float]]:
    try:
        found = json.loads(text)
        return {str(kind): [float(t) for t in times] for kind, times in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
