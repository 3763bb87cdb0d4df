"""Whether the site is at work: its process is alive and its SuperNode listens."""

import argparse
import json
import os
import socket
from contextlib import suppress

from clients.deploy.site_folder import SiteFolder, site_folder
from fl.util.atomic_io import write_atomically

SECONDS = 5.0  # within which the SuperNode accepts a connection


def show_health(options: argparse.Namespace) -> int:
    """Show whether the site is at work; exit code 0 if it is, else 1."""
    well = is_at_work(site_folder(options))
    print("at work" if well else "not at work")
    return 0 if well else 1


def note_at_work(folder: SiteFolder, port: int, node: int | None = None) -> None:
    """Let `show_health` know this process, and the port that its SuperNode listens on.

    `node`: the number by which the SuperLink knows the SuperNode, once it is connected.
    """
    state = {"port": port, "process": os.getpid(), "node": node}
    write_atomically(folder.state, json.dumps(state).encode())


def left_behind(folder: SiteFolder) -> int | None:
    """The node of a SuperNode that did not end in order: its site's process is gone.

    None if there is none, or if it is not known.
    """
    try:
        state = json.loads(folder.state.read_text())
        node, process = int(state["node"]), int(state["process"])
        if process != os.getpid():  # in a container a later process may have the same number
            os.kill(process, 0)
            return None
    except (ProcessLookupError, OverflowError):
        return node
    except (OSError, ValueError, KeyError, TypeError):  # PermissionError: it is alive
        return None
    return node


def is_at_work(folder: SiteFolder) -> bool:
    """Whether the process that `note_at_work` noted is alive and its SuperNode listens."""
    try:
        state = json.loads(folder.state.read_text())
        with suppress(PermissionError):  # alive, and another user's
            os.kill(state["process"], 0)
        with socket.create_connection(("127.0.0.1", state["port"]), SECONDS):
            return True
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return False
