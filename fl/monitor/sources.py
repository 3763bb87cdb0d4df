"""Where a monitor's samples come from: a recording, standard input, or a TCP port."""

import errno
import ipaddress
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fl.ecg.records import Record
from fl.monitor.sample_lines import LineSplitter, SampleLines
from fl.monitor.stream import BLOCK_SECONDS
from fl.util.errors import ConfigError

Samples = NDArray[np.float32]  # (lead, sample) mV, nan where one is missing
Stopped = Callable[[], bool]  # whether the person wants to end

CHUNK = 65536  # bytes read at once
LOOK = 0.2  # s between two looks whether to end
NO_DATA = 5.0  # s without a byte from the network, after which that is reported


class Readable(Protocol):
    """A file or socket of bytes."""

    def fileno(self) -> int:
        """Its number for the operating system."""


def replay(record: Record, speed: float, stopped: Stopped) -> Iterator[Samples]:
    """A recording in blocks, `speed` times as fast as it was recorded; 0 as fast as possible."""
    size = max(1, round(BLOCK_SECONDS * record.fs))
    began = time.monotonic()
    for start in range(0, record.signal.shape[1], size):
        if speed:
            due = began + (start + size) / record.fs / speed
            while not stopped() and (left := due - time.monotonic()) > 0:
                time.sleep(min(left, LOOK))
        if stopped():
            return
        yield record.signal[:, start : start + size]


def read_lines(
    lines: SampleLines,
    source: Readable,
    read: Callable[[int], bytes],
    stopped: Stopped,
    silent: Callable[[bool], None] = lambda is_silent: None,
) -> Iterator[Samples]:
    """The samples of a stream of lines, until it ends. `silent` hears when no byte comes."""
    splitter, waited, quiet = LineSplitter(), 0.0, False
    while not stopped():
        if not select.select([source], [], [], LOOK)[0]:
            waited += LOOK
            if waited >= NO_DATA and not quiet:
                quiet = True
                silent(True)
            continue
        if quiet:
            silent(False)
        waited, quiet = 0.0, False
        data = read(CHUNK)
        yield from _joined(lines, splitter.push(data) if data else splitter.finish())
        if not data:
            break
    if (last := lines.finish()) is not None:
        yield last


def _joined(lines: SampleLines, found: Iterator[bytes | None]) -> Iterator[Samples]:
    """The samples of several lines in one array."""
    parts = [part for part in map(lines.push, found) if part is not None]
    if parts:
        yield np.concatenate(parts, axis=1)


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `:PORT` or `PORT`; this machine alone unless a host is named."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen is {text!r}. Accepted: PORT, or HOST:PORT as 127.0.0.1:9000.")
    return host, int(port)


class Listener:
    """A TCP port at which one sender after the other may give samples."""

    def __init__(self, host: str, port: int) -> None:
        """`ConfigError` where the address cannot be listened at."""
        try:
            family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = socket.create_server(place[:2], family=family, backlog=1)
        except OSError as error:
            busy = error.errno == errno.EADDRINUSE
            why = "another program has that port" if busy else error.strerror
            raise ConfigError(
                f"--listen {host}:{port}: cannot listen there ({why}). Name a free port of an "
                "address of this machine."
            ) from None
        self.host, self.port = self._server.getsockname()[:2]

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines reach it."""
        return not ipaddress.ip_address(self.host.partition("%")[0]).is_loopback

    def sender(self, stopped: Stopped) -> socket.socket | None:
        """The next sender; None if the person ended it first."""
        while not stopped():
            if select.select([self._server], [], [], LOOK)[0]:
                connection, _ = self._server.accept()
                return connection
        return None

    def close(self) -> None:
        """Listen no longer."""
        self._server.close()


def received(connection: socket.socket) -> Callable[[int], bytes]:
    """Reads from a connection; one that breaks has ended."""

    def read(most: int) -> bytes:
        try:
            return connection.recv(most)
        except OSError:
            return b""

    return read
