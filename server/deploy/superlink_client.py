"""Questions and orders to the SuperLink on this machine, by Flower's own command line.

Each such command starts a Python. With the versions of Flower on which it was tested, a question
goes through Flower's own client instead (`server.deploy.superlink_internals`).
"""

import json
import shlex
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from fl.util.child_process import flower_environment
from fl.util.errors import FederationError
from fl.util.tested_versions import is_tested
from server.deploy import superlink_internals
from server.deploy.certificates import require_valid_certificates
from server.deploy.federation_store import CONNECTION, FederationFolder, NodeState, latest

FRAME = str.maketrans("╭─╮│╰╯", "      ")  # which Flower draws around its messages
SECONDS = 5.0  # within which the SuperLink accepts a connection
WORDS = 400  # characters of Flower's output in an error


def run_flower_command(folder: FederationFolder, *arguments: str) -> str:
    """What Flower's command prints; `FederationError` with its last words if it fails."""
    command = ["flwr", *arguments]
    done = subprocess.run(
        command, env=flower_environment(folder.flower_home), capture_output=True, text=True
    )
    if done.returncode != 0:
        raise _failure(arguments, done.stdout + done.stderr)
    return done.stdout


def _failure(arguments: Sequence[str], output: str) -> FederationError:
    words = " ".join(output.translate(FRAME).split())
    return FederationError(f"`{shlex.join(['flwr', *arguments])}` failed: {words[-WORDS:]}")


def show_flower_command(folder: FederationFolder, *arguments: str) -> None:
    """Print Flower's command instead of running it."""
    print(f"FLWR_HOME={shlex.quote(str(folder.flower_home))} {shlex.join(['flwr', *arguments])}")


def ask_flower(folder: FederationFolder, *arguments: str) -> dict[str, Any]:
    """Flower's answer as JSON; `FederationError` if the SuperLink or the command fails."""
    require_superlink(folder)
    output = run_flower_command(folder, *arguments, "--format", "json")
    try:
        answer = json.loads(output[output.index("{") : output.rindex("}") + 1])
    except ValueError:
        raise _failure(arguments, output) from None
    if not answer.get("success"):  # its exit status is 0 all the same
        raise _failure(arguments, str(answer.get("error-message", output)))
    return dict(answer)


def require_superlink(folder: FederationFolder) -> None:
    """`FederationError` unless the SuperLink accepts connections.

    `ConfigError` if its certificate has expired.
    """
    require_valid_certificates(folder.ca, folder.certificate)
    try:
        socket.create_connection(("127.0.0.1", folder.settings().superlink_port), SECONDS).close()
    except OSError as error:
        raise _away(folder, error) from None


def _away(folder: FederationFolder, error: Exception) -> FederationError:
    return FederationError(
        f"the SuperLink does not answer ({type(error).__name__}). Is it running? "
        f"`python -m server.deploy serve {folder.path}` starts it."
    )


def asks_directly() -> bool:
    """Whether questions go through Flower's client, and not through its command line."""
    otherwise = "the SuperLink is asked by `flwr` commands, which take seconds each"
    return is_tested("flwr", superlink_internals.FLOWER_VERSIONS, otherwise)


@contextmanager
def direct(folder: FederationFolder) -> Iterator[None]:
    """`FederationError` if a direct question finds no SuperLink."""
    try:
        yield
    except httpx.HTTPError as error:
        require_valid_certificates(folder.ca, folder.certificate)
        raise _away(folder, error) from None


def list_nodes(folder: FederationFolder) -> list[NodeState]:
    """Every SuperNode that was ever approved."""
    if asks_directly():
        with direct(folder):
            return superlink_internals.list_nodes(folder)
    found = ask_flower(folder, "supernode", "list", CONNECTION)["nodes"]
    return [
        NodeState(
            node=int(node["node-id"]),
            status=node["status"],
            seen=latest([node["online-at"], node["offline-at"]]),
            activated=latest([node["online-at"]]),
        )
        for node in found
    ]


def run_state(folder: FederationFolder, run_id: int) -> str:
    """`pending`, `running`, ..., `finished:` and how, or `unknown`."""
    if asks_directly():
        with direct(folder):
            return superlink_internals.run_state(folder, run_id)
    runs = ask_flower(folder, "list", CONNECTION)["runs"]
    return next((str(r["status"]) for r in runs if int(r["run-id"]) == run_id), "unknown")


def stop_run(folder: FederationFolder, run_id: int) -> None:
    """End a run, if it has not ended."""
    state = run_state(folder, run_id)
    if state == "unknown" or state.startswith("finished"):
        return
    if asks_directly():
        with direct(folder):
            superlink_internals.stop_run(folder, run_id)
    else:
        ask_flower(folder, "stop", str(run_id), CONNECTION)
