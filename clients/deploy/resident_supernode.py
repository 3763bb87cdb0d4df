"""The quick way to serve: this process answers the requests that Flower's SuperNode receives.

Flower starts a new Python, which imports torch, for each request. This process has torch loaded
and stays. It uses names that Flower does not document, so only with versions it was tested on.
"""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clients.deploy.health import left_behind, note_at_work
from clients.deploy.joined_site import ARRIVED, CONNECTED, NODE_LAPSE, NOT_ADMITTED, JoinedSite
from fl.util.child_process import ChildProcess, flower_environment, free_port, raise_if_stopping
from fl.util.errors import ConfigError

if TYPE_CHECKING:
    from clients.deploy.task_runner_internals import TaskRunner

LOOK = 0.5  # seconds between looks whether the SuperNode has ended
LEAVE = 35.0  # seconds that taking leave may last; Flower's client gives up after 30
WITHOUT_EVENT = 10.0  # seconds between looks for a message whose arrival was not reported


class SuperNodeEnded(KeyboardInterrupt):
    """The SuperNode ended while its request was being answered: nobody takes the answer.

    A `KeyboardInterrupt`, which no code on the way takes for the failure of a request.
    """


class ResidentSuperNode:
    """Flower's SuperNode in a process of its own; this process answers its requests."""

    def __init__(self, site: JoinedSite) -> None:
        self._site, self._connected_until = site, time.monotonic()
        # By which the SuperLink knows a SuperNode that has not taken its leave; first one that was
        # at work when this machine stopped, say.
        self._node = left_behind(site.folder)

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
        self._take_leave()
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
            if line.startswith(CONNECTED):
                self._node = int(line.removeprefix(CONNECTED))
                connected.set()
                with whatever_the_disk("that this key was admitted"):
                    site.folder.admitted.touch()
                    note_at_work(site.folder, port, self._node)
                site.console.print(f"{site.name}: connected to {site.invitation.address}")

        port = free_port()
        runner = TaskRunner(app, f"127.0.0.1:{port}", site.folder.secret.read_bytes())
        environment = flower_environment(site.folder.flower_home)
        node = ChildProcess(self.command(site, port), environment, read)
        work = InterruptibleWork()
        watch = threading.Thread(target=self._watch, args=(node, work), daemon=True)
        watch.start()
        try:
            with whatever_the_disk("that this site is at work"):
                note_at_work(site.folder, port)
            return answer_requests(runner, node, arrived, work)
        finally:
            node.stop()
            watch.join(LEAVE)  # a leave that came later would be the next SuperNode's
            runner.close()

    def _watch(self, node: ChildProcess, work: "InterruptibleWork") -> None:
        """Wait until the SuperNode ends; then break off what is done for it.

        A SuperNode that ended without taking its leave is counted as connected for a minute: the
        coordinator hears of it now.
        """
        while node.ended is None:
            time.sleep(LOOK)
        if node.ended in (0, NOT_ADMITTED):
            self._node = None  # it did so itself, or was not connected
        self._take_leave()
        work.interrupt()

    def _take_leave(self) -> None:
        """Let the SuperLink know that a SuperNode is gone, if one ended without doing so."""
        from clients.deploy.supernode_internals import take_leave

        node, self._node = self._node, None
        if node is None:
            return
        log = logging.getLogger("heartfed")
        try:
            take_leave(self._site, node)
        except Exception as error:
            log.info("the coordinator was not asked to forget the SuperNode: %s", error)
        else:
            log.warning("the SuperNode ended without leave; the coordinator knows it now")


class InterruptibleWork:
    """What the main thread does for a SuperNode, until that has ended."""

    SIGNAL = signal.SIGUSR1

    def __init__(self) -> None:
        self._at_work = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(self.SIGNAL, self._break_off)

    def do(self, work: Callable[[], None]) -> None:
        """Do the work; what is left of it is dropped if it is interrupted."""
        try:
            self._at_work = True
            work()
            self._at_work = False
        except SuperNodeEnded:
            logging.getLogger("heartfed").warning("a request is broken off: its SuperNode ended")

    def interrupt(self) -> None:
        """Break off the work, from another thread."""
        main = threading.main_thread().ident
        if self._at_work and signal.getsignal(self.SIGNAL) == self._break_off and main:
            signal.pthread_kill(main, self.SIGNAL)

    def _break_off(self, *_: object) -> None:
        if self._at_work:
            self._at_work = False
            raise SuperNodeEnded


@contextmanager
def whatever_the_disk(fact: str) -> Iterator[None]:
    """Log that a fact could not be written down, on a full disk say, and go on."""
    try:
        yield
    except OSError as error:
        logging.getLogger("heartfed").error("%s is not noted: %s", fact, error)


def answer_requests(
    runner: "TaskRunner",
    node: ChildProcess,
    arrived: threading.Event,
    work: InterruptibleWork,
) -> int:
    """Do the SuperNode's tasks until it ends, each once its message has `arrived`.

    A task exists before its message: taken then, it waits whole seconds for the missing parts.
    """
    looked = time.monotonic()
    while node.ended is None:
        if arrived.wait(LOOK) or time.monotonic() - looked > WITHOUT_EVENT:
            arrived.clear()
            work.do(runner.take)
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
