"""Errors that are a user's mistake or in the data; shown as one line, never as a traceback."""

import difflib
import errno
import os
import sys
from collections.abc import Callable, Collection, Iterable

DISK_FULL = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)


class ConfigError(Exception):
    """A setting that cannot be used; its text names the setting, its value and what is accepted."""


class DataError(Exception):
    """Data that cannot be used; its text names the folder or record, what was found, what to do."""


class UnusableRecord(DataError):
    """One record that cannot be used, with the verdict under which it is counted and reported.

    `reason` is one of `REASONS`; `detail` says what was found, without any patient field.
    """

    def __init__(self, record: str, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is not a verdict; known: {', '.join(REASONS)}")
        super().__init__(f"{record}: {REASONS[reason]} ({detail})")
        self.record, self.reason, self.detail = record, reason, detail


class FederationError(Exception):
    """A federated run that cannot continue; its text names the round and the sites."""


def exit_code(program: str, act: Callable[[], int], interrupted: str, ended: int = 1) -> int:
    """Run a command and return its exit code, with expected errors as one line on stderr.

    The code is that of `act`, 2 for a user's mistake or unusable data, 1 for a run that stopped.
    After Ctrl-C, `interrupted` is printed, or what the exception says itself, and `ended`
    returned. A bug keeps its traceback.
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
        place = f" at {error.filename}" if error.filename else ""
        print(
            f"{program}: stopped: {os.strerror(error.errno)}{place}. The files that were written "
            "are complete; make room and run again (--resume continues a run of run_sim.py).",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as interruption:
        print(f"{program}: {str(interruption) or interrupted}", file=sys.stderr)
        return ended


REASONS = {
    "missing-file": "a file is missing",
    "no-reader": "the library that reads its format is not installed",
    "bad-header": "the header cannot be read",
    "foreign-file": "a file of another record is named",
    "truncated": "the signal is shorter than the header says",
    "checksum": "the signal does not match the header's checksum",
    "bad-signal": "the signal cannot be read",
    "lead-names": "no lead has a known name, or two have the same",
    "wrong-rate": "the sampling rate is not one of this source",
    "amplitude": "the heartbeats are far smaller or larger than a heart's: wrong unit or gain",
    "no-signal": "no lead has a usable signal",
    "too-short": "the recording is too short",
    "single-beat": "it holds single heartbeats, cut out of recordings",
    "no-row": "the table of labels does not list it",
    "no-label": "no label among the classes of the task",
    "no-infarction-label": "it is labelled neither as an infarction nor as normal",
    "doubtful-infarction": "an infarction is named as something that cannot be excluded",
    "label-conflict": "its labels contradict each other",
    "no-annotation": "no usable beat or rhythm annotation",
    "no-beats": "no heartbeat with a whole interval after it is found",
    "paced": "paced beats, which ANSI/AAMI EC57 leaves out",
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
