"""The quick way to serve: this process answers the requests that Flower's SuperNode receives.

Flower starts a new Python, which imports torch, for each request. This process has torch loaded
and stays. It uses names that Flower does not document, so only with versions it was tested on.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clients.deploy.health import note_at_work
from clients.deploy.joined_site import NODE_LAPSE, JoinedSite
from fl.util.child_process import ChildProcess, flower_environment, free_port, raise_if_stopping
from fl.util.errors import ConfigError

if TYPE_CHECKING:
    from clients.deploy.task_runner_internals import TaskRunner

# What `clients.deploy.supernode_internals` writes, a line each, and how it ends if refused.
CONNECTED, ARRIVED = "heartfed: connected", "heartfed: a message has arrived"
NOT_ADMITTED = 3
LOOK = 0.5  # seconds between looks whether the SuperNode has ended
WITHOUT_EVENT = 10.0  # seconds between looks for a message whose arrival was not reported


class ResidentSuperNode:
    """Flower's SuperNode in a process of its own; this process answers its requests."""

    def __init__(self, site: JoinedSite) -> None:
        self._site, self._connected_until = site, time.monotonic()

    @staticmethod
    def command(site: JoinedSite, port: int) -> list[str]:
        """How the SuperNode is started."""
        return [
            *(sys.executable, "-m", "clients.deploy.supernode_internals"),
            *site.supernode_flags(port),
            *("--isolation", "process"),
            *("--superexec-auth-secret-file", str(site.folder.secret)),
        ]

    def run(self) -> bool:
        """Serve until the SuperNode ends; whether it was connected.

        `ConfigError` if it is of no use to start it again.
        """
        connected = threading.Event()
        status = self._serve(connected)
        if connected.is_set():
            self._connected_until = time.monotonic()
        waited = time.monotonic() - self._connected_until
        check_admission(status, self._site, connected.is_set(), waited)
        logging.getLogger("heartfed").warning("the SuperNode ended with status %s", status)
        return connected.is_set()

    def _serve(self, connected: threading.Event) -> int:
        """From the SuperNode's start to its end; `connected` is set once it is admitted."""
        # Imported here: a mistake in a flag, or the making of a key, should not wait for torch.
        from clients.app import app
        from clients.deploy.task_runner_internals import TaskRunner

        site, arrived = self._site, threading.Event()

        def read(line: str) -> None:
            if line == ARRIVED:
                arrived.set()
                return
            logging.getLogger("heartfed").info("supernode: %s", line)
            if line == CONNECTED:
                connected.set()
                with whatever_the_disk("that this key was admitted"):
                    site.folder.admitted.touch()
                site.console.print(f"{site.name}: connected to {site.invitation.address}")

        port = free_port()
        runner = TaskRunner(app, f"127.0.0.1:{port}", site.folder.secret.read_bytes())
        environment = flower_environment(site.folder.flower_home)
        node = ChildProcess(self.command(site, port), environment, read)
        try:
            with whatever_the_disk("that this site is at work"):
                note_at_work(site.folder, port)
            return answer_requests(runner, node, arrived)
        finally:
            node.stop()
            runner.close()


@contextmanager
def whatever_the_disk(fact: str) -> Iterator[None]:
    """Log that a fact could not be written down, on a full disk say, and go on."""
    try:
        yield
    except OSError as error:
        logging.getLogger("heartfed").error("%s is not noted: %s", fact, error)


def answer_requests(runner: "TaskRunner", node: ChildProcess, arrived: threading.Event) -> int:
    """Do the SuperNode's tasks until it ends, each once its message has `arrived`.

    A task exists before its message: taken then, it waits whole seconds for the missing parts.
    """
    looked = time.monotonic()
    while node.ended is None:
        if arrived.wait(LOOK) or time.monotonic() - looked > WITHOUT_EVENT:
            arrived.clear()
            runner.take()
            looked = time.monotonic()
        raise_if_stopping()
    return node.ended


def check_admission(status: int, site: JoinedSite, connected: bool, waited: float) -> None:
    """`ConfigError` if the SuperNode ended because the coordinator refuses it.

    `waited`: seconds since this site was last connected, or since it was started.
    """
    admitted = site.folder.admitted
    if status == 0:  # it ended by itself: what it signed was refused
        admitted.unlink(missing_ok=True)
        if not connected:
            raise ConfigError(
                "the coordinator does not accept what this site signs. Is the clock of this "
                "machine right? It may not be 5 s ahead of the coordinator's, or 5 min behind it."
            )
    elif status == NOT_ADMITTED:
        if admitted.exists() and waited < NODE_LAPSE:
            return  # this site's last connection may not have lapsed yet
        admitted.unlink(missing_ok=True)
        raise ConfigError(f"the coordinator does not admit this key: {site.not_admitted}")
