"""Whether a run is going, has stopped, or is over; and the command that continues it."""

import fcntl
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl.config.run_options import RunOptions
from fl.runs.run_facts import DEPLOYMENT
from fl.runs.run_lock import LOCK

RUNNING, INTERRUPTED, FAILED, COMPLETED = "running", "interrupted", "failed", "completed"
UNREADABLE = "unreadable"  # its files are damaged
NOT_BEGUN = "not begun"  # one of a run's seeds or folds
CONTINUABLE = (INTERRUPTED, FAILED)
SIMULATE = "heartfed simulate"
SCRIPT = "run_sim.py"


def run_state(folder: Path, facts: Mapping[str, Any]) -> str:
    """One of the words above, by run.json and by whether a process holds the run directory.

    A run that is killed cannot write that it has ended, but the kernel takes its lock away.
    """
    status = facts.get("status")
    if status == RUNNING:
        return RUNNING if is_held(folder) else INTERRUPTED
    if status == FAILED:
        return INTERRUPTED if was_interrupted(facts) else FAILED
    return COMPLETED if status == COMPLETED else UNREADABLE


def was_interrupted(facts: Mapping[str, Any]) -> bool:
    """Whether a run that is `failed` was ended by Ctrl-C or SIGTERM."""
    return str(facts.get("error", "")).startswith("KeyboardInterrupt")


def is_held(folder: Path) -> bool:
    """Whether a process writes into the run directory; True where that cannot be found out.

    For a moment this holds a lock that other readers share; `run_lock` waits longer than that.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # a run makes its lock before anything else
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def resume_line(folder: Path, command: str, options: RunOptions | None = None) -> str:
    """The command line that continues a run, ready to be pasted into a shell.

    `options` are those of a run of this process, of which run.json says nothing.
    """
    given = options or RunOptions()
    words = [command, "--resume", shlex.quote(str(folder))]
    if given.cache_dir is not None:
        words += ["--cache-dir", shlex.quote(str(given.cache_dir))]
    flags = {"--quiet": given.quiet, "--no-pages": not given.pages}
    flags["--tensorboard"] = given.tensorboard
    return " ".join([*words, *(flag for flag, wanted in flags.items() if wanted)])


def command_of(facts: Mapping[str, Any]) -> str:
    """The command that began a run by its run.json, as it is called in HeartFed's own folder.

    A run directory may come from elsewhere: nothing of its text becomes part of the command.
    """
    if facts.get("engine") == DEPLOYMENT:
        return "heartfed coordinator run FEDERATION"
    given = facts.get("command")
    began = Path(str(given[0])).name if isinstance(given, list) and given else ""
    return f"python {SCRIPT}" if began == SCRIPT else SIMULATE


def own_command() -> str:
    """The command by which this process was started."""
    script = sys.argv[0]
    return f"python {shlex.quote(script)}" if Path(script).name == SCRIPT else SIMULATE
