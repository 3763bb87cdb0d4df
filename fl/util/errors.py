"""Trouble that is the user's or the data's, shown as one line and never as a traceback."""

import difflib
import errno
import os
import sys
from collections.abc import Callable, Collection, Iterable

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class ConfigError(Exception):
    """A setting that cannot be used: names the setting, its value and what is accepted."""


class DataError(Exception):
    """Data that cannot be used: names the folder or record, what was found, what to do."""


class UnusableRecord(DataError):
    """One record that cannot be used, with the verdict that is counted and reported.

    `reason` is one of `REASONS`; `detail` says what was found, without any patient field.
    """

    def __init__(self, record: str, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is no verdict; known: {', '.join(REASONS)}")
        super().__init__(f"{record}: {REASONS[reason]} ({detail})")
        self.record, self.reason, self.detail = record, reason, detail


class FederationError(Exception):
    """A federated run that cannot go on: names the round and the sites."""


def exit_code(program: str, act: Callable[[], int], interrupted: str, ended: int = 1) -> int:
    """What a command line returns: `act`'s code, 2 for something to mend, 1 for a run that stopped.

    An interrupt is told as `interrupted` and returns `ended`; a bug keeps its traceback.
    """
    try:
        return act()
    except (ConfigError, DataError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 2
    except FederationError as error:
        print(f"{program}: stopped: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        where = f" at {error.filename}" if error.filename else ""
        print(
            f"{program}: stopped: {os.strerror(error.errno)}{where}. What is written is whole; "
            "make room and run again (a run of run_sim.py goes on with --resume).",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"{program}: {interrupted}", file=sys.stderr)
        return ended


REASONS = {
    "missing-file": "a file is missing",
    "bad-header": "the header cannot be read",
    "foreign-file": "the header names a file that is not the record's own",
    "truncated": "the signal is shorter than the header says",
    "checksum": "the signal does not match the header's checksum",
    "bad-signal": "the signal cannot be read",
    "lead-names": "its leads have no known name, or one name twice",
    "wrong-rate": "the sampling rate is not this source's",
    "no-signal": "no lead holds a usable signal",
    "too-short": "the recording is too short",
    "no-label": "no label in the task's classes",
    "label-conflict": "its labels contradict each other",
    "no-annotation": "no beat or rhythm annotation",
    "paced": "paced beats, left out by ANSI/AAMI EC57",
    "duplicate": "the same signal as another record",
}


def require_known(value: str, known: Collection[str], flag: str) -> None:
    """`ConfigError` unless the value is a known name; it suggests the one that is close."""
    if value not in known:
        guess = did_you_mean(value, known)
        raise ConfigError(f"{flag} is {value!r}.{guess} Known: {', '.join(sorted(set(known)))}.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean fedavg?` for `fedvag`; nothing where no known name is close."""
    # At the usual 0.6 `nope` would be close to `noise`.
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.7)
    return f" Did you mean {close[0]}?" if close else ""
