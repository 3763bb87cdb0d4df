"""Programs that a deployment starts and ends: Flower's own, with their output in our logs."""

import ctypes
import logging
import logging.handlers
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from fl.util.private_files import FILE, FOLDER

LOG_BYTES, LOG_FILES = 5 * 2**20, 5  # a log is rotated at this size; so many are kept
PORTS = range(20000, 32768)  # on loopback; `free_port` chooses one of them
PR_SET_PDEATHSIG = 1  # number of an order to Linux, in sys/prctl.h
COLOUR = re.compile(r"\x1b\[\d*m")  # of a terminal; it has no place in a file


def flower_environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of Flower's programs: found beside this Python, and without telemetry."""
    programs = str(Path(sys.executable).parent)
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def log_to_file(path: Path) -> logging.Logger:
    """HeartFed's logger, writing to a file that is rotated."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER)
    path.touch(mode=FILE)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("heartfed")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return logger


class ChildProcess:
    """A program that ends when this one does; each line that it prints goes to `log`."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], log: Callable[[str], None]
    ) -> None:
        self.last: deque[str] = deque(maxlen=40)  # lines, to explain why it ended
        self._process = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Otherwise Ctrl-C would reach it too. At a second signal Flower ends without taking its
            # leave, and the coordinator would count the site as connected for another minute.
            start_new_session=True,
            preexec_fn=end_with_parent if sys.platform == "linux" else None,
        )
        self._pump = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._pump.start()

    def _read(self, log: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            output = COLOUR.sub("", line).rstrip()
            if output:
                self.last.append(output)
                try:
                    log(output)
                except Exception as error:
                    # Without a reader the program would stand still once the pipe is full.
                    logging.getLogger("heartfed").error("a line was not handled: %s", error)

    @property
    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end, and kill it if it does not within these seconds."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._pump.join(timeout=1.0)
        if not self._pump.is_alive() and self._process.stdout is not None:
            self._process.stdout.close()


def end_with_parent() -> None:
    """Let Linux end this process when its parent has ended, even if that was killed.

    Other systems leave it running.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """A port on loopback that nobody uses now, and that is likely to stay free for a while.

    It is none of those that Linux gives to outgoing connections (from 32768 on). A port that the
    system chooses is one of these, and on a busy machine is soon given to another.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port on loopback from {PORTS.start} to {PORTS.stop - 1}")


def exit_immediately(code: int) -> NoReturn:
    """End now, once output is written: to unload torch first costs seconds of a core."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):  # whoever read the output has gone
            stream.flush()
    os._exit(code)


STOP_REQUESTED = threading.Event()  # set once this program was asked to end


def handle_stop_signals() -> None:
    """Let SIGTERM and Ctrl-C end this program in order, even if the exception gets lost."""

    def interrupt(*_: object) -> None:
        # Code that drops the exception may be running; loops that wait still see the event.
        STOP_REQUESTED.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)


def raise_if_stopping() -> None:
    """`KeyboardInterrupt` if this program was asked to end."""
    if STOP_REQUESTED.is_set():
        raise KeyboardInterrupt
