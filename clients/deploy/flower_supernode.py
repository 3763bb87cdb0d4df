"""The documented way to serve: Flower's own SuperNode starts a process for each request.

It is used with every version of Flower on which the quick way (`clients.deploy.resident_supernode`)
was not tested. Each request then starts a Python that imports torch. Flower unpacks what the
coordinator sends with a run; `clients.deploy.installed_code_only` sees to it that no code of it is
executed, so that the ClientApp is the one installed at this site.
"""

import logging
import os
import time
from pathlib import Path

from clients.deploy.health import note_at_work
from clients.deploy.installed_code_only.sitecustomize import FOLDER
from clients.deploy.joined_site import NODE_LAPSE, JoinedSite
from clients.deploy.resident_supernode import whatever_the_disk
from fl.util.child_process import ChildProcess, flower_environment, free_port, raise_if_stopping
from fl.util.errors import ConfigError

LOOK = 0.5  # seconds between looks whether the SuperNode has ended
SHORT = 30.0  # seconds; a SuperNode that ends sooner was most likely refused


class FlowerSuperNode:
    """Flower's SuperNode, which starts the ClientApp itself for each request."""

    def __init__(self, site: JoinedSite) -> None:
        self._site, self._well_until = site, time.monotonic()

    @staticmethod
    def command(site: JoinedSite, port: int) -> list[str]:
        """How the SuperNode is started."""
        return ["flower-supernode", *site.supernode_flags(port), "--isolation", "subprocess"]

    @staticmethod
    def environment(site: JoinedSite) -> dict[str, str]:
        """Where Flower works, and the guard against code that comes with a run."""
        guard = str(Path(__file__).with_name("installed_code_only"))
        paths = [guard, *filter(None, [os.environ.get("PYTHONPATH")])]
        home = site.folder.flower_home
        return flower_environment(home, PYTHONPATH=os.pathsep.join(paths), **{FOLDER: str(home)})

    def run(self) -> bool:
        """Serve until the SuperNode ends; whether it is likely to have been connected.

        `ConfigError` if it is of no use to start it again.
        """
        began = time.monotonic()
        node = self._serve()
        lasted = time.monotonic() - began > SHORT
        if lasted:
            self._well_until = time.monotonic()
        logging.getLogger("heartfed").warning("the SuperNode ended with status %s", node.ended)
        self._check_ends(time.monotonic() - self._well_until, list(node.last))
        return lasted

    def _serve(self) -> ChildProcess:
        """From the SuperNode's start to its end."""
        log, port = logging.getLogger("heartfed"), free_port()
        node = ChildProcess(
            self.command(self._site, port),
            self.environment(self._site),
            lambda line: log.info("supernode: %s", line),
        )
        try:
            with whatever_the_disk("that this site is at work"):
                note_at_work(self._site.folder, port)
            while node.ended is None:
                time.sleep(LOOK)
                raise_if_stopping()
        finally:
            node.stop()
        return node

    def _check_ends(self, seconds: float, lines: list[str]) -> None:
        """`ConfigError` if the SuperNode has ended soon after each start for this many seconds.

        Flower documents no exit status by which a refusal differs from another failure.
        """
        if seconds > NODE_LAPSE:
            raise ConfigError(
                f"Flower's SuperNode ends as soon as it is started ({self._site.folder.log} has "
                "its output). Most likely the coordinator does not admit this key: "
                f"{self._site.not_admitted} Or the clock of this machine is wrong. Flower's last "
                f"line: {lines[-1] if lines else 'none'}"
            )
