"""Flower's SuperNode as a program that reports what happens, and ends where Flower's would not.

Flower serves the process that answers requests from a thread of its own. When the main thread has
ended for a reason that Flower did not foresee, that thread keeps the process alive: it looks well,
and takes no message. Here the process ends with its main thread, and is started again.

A message that was still arriving when its run ended (its coordinator was killed, say) leaves a
task that is never complete. A minute later Flower answers that task in the place of a later
message, and from then on every reply waits until the next message comes. Here the program ends.

Names that Flower does not document are imported where they are used, so that this file can be
loaded with any version.
"""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from clients.deploy.joined_site import ARRIVED, CONNECTED, NOT_ADMITTED, JoinedSite
from fl.util.child_process import exit_immediately

FLOWER_VERSIONS = ("1.41.0",)  # tested
LOOK = 0.1  # seconds between looks for a reply; Flower's half a second is paid twice a round


class IncompleteMessage(Exception):
    """A message began to arrive, and will not be complete."""


def report(event: str) -> None:
    """Write an event for the process that started this one."""
    print(event, flush=True)


def reporting_pull(pull: Callable[..., int | None]) -> Callable[..., int | None]:
    """Flower's step that pulls a message, which returns its run, with a report of its arrival.

    `IncompleteMessage` if only a part of a message arrived.
    """

    def step(*, state: Any, **rest: Any) -> int | None:
        tasks = len(state.get_tasks())
        run = pull(state=state, **rest)
        if run is not None:
            report(ARRIVED)
        elif len(state.get_tasks()) > tasks:
            raise IncompleteMessage("a message did not arrive complete; the SuperNode starts again")
        return run

    return step


def reporting_connection(connect: Callable[..., Any]) -> Callable[..., Any]:
    """Flower's connection to the SuperLink, with a report once it is made."""

    @contextlib.contextmanager
    def connection(*given: Any, **named: Any) -> Iterator[Any]:
        with connect(*given, **named) as made:
            report(f"{CONNECTED}{made[0]}")  # the number of the node comes first
            yield made

    return connection


def replace_steps(loop: ModuleType) -> None:
    """Let Flower's main loop report, and look for replies more often."""
    pauses = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, LOOK)))
    vars(loop).update(
        _pull_and_store_message=reporting_pull(vars(loop)["_pull_and_store_message"]),
        _init_connection=reporting_connection(vars(loop)["_init_connection"]),
        time=pauses,
    )


def take_leave(site: JoinedSite, node: int) -> None:
    """Take leave for a SuperNode that was killed, which could not do so.

    Until then the SuperLink counts it as connected, for a minute: the coordinator waits for its
    answer, and no other SuperNode is admitted with its key. Raises an error of httpx if the
    SuperLink is away or refuses it.
    """
    from flwr.proto.fleet_pb2 import DeactivateNodeRequest
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

    key = load_ssh_private_key(site.folder.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signed = NodeAuthHttpInterceptor(key, key.public_key())
    with FleetHttpClient.from_server_address(
        site.invitation.address,
        insecure=False,
        root_certificates=site.folder.ca.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperNode"), signed],
    ) as client:
        client.DeactivateNode(DeactivateNodeRequest(node_id=node))


def is_refusal(error: BaseException | None) -> bool:
    """Whether the SuperLink answered that it does not admit this key."""
    from flwr.supercore.error import ApiErrorCode, FlowerError

    if not isinstance(error, httpx.HTTPStatusError):
        return False
    answer = FlowerError.from_json(error.response.text)
    return answer is not None and answer.code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED


def main() -> int:
    """0 if it was asked to end or what it signed is refused, `NOT_ADMITTED`, or 1.

    Flower interrupts itself when it is refused, and from two threads at once: a second interrupt,
    while it ends because of the first, is the same end.
    """
    from flwr.supernode import start_client_internal
    from flwr.supernode.cli.flower_supernode import flower_supernode

    replace_steps(start_client_internal)
    try:
        flower_supernode()
    except SystemExit as end:
        if is_refusal(end.__context__):
            return NOT_ADMITTED
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return 0
    except Exception:
        traceback.print_exc()
    return 1


if __name__ == "__main__":
    exit_immediately(main())
