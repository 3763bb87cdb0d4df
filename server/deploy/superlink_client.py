"""Questions to the SuperLink on this machine, by Flower's own client of its Control API."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from flwr.common.constant import HEARTBEAT_PATIENCE
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, StopRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from fl.util.errors import FederationError
from server.deploy.federation_store import FederationFolder


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """A SuperNode as the SuperLink knows it."""

    node: int
    site: str
    status: str  # registered (never seen), online, offline, unregistered
    seen: float  # seconds since 1970 of its last sign of life; 0: never

    @property
    def admitted(self) -> bool:
        return self.status != "unregistered"


@contextmanager
def control(folder: FederationFolder) -> Iterator[ControlHttpClient]:
    """A connection; `FederationError` if the SuperLink does not answer."""
    client = ControlHttpClient.from_server_address(
        f"127.0.0.1:{folder.settings().superlink_port}",
        insecure=False,
        root_certificates=folder.ca.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-cli")],
    )
    try:
        yield client
    except httpx.HTTPError as error:
        raise FederationError(
            f"the SuperLink does not answer ({type(error).__name__}). Is it running? "
            f"`python -m server.deploy serve {folder.path}` starts it."
        ) from None
    finally:
        client.close()


def list_nodes(folder: FederationFolder) -> list[NodeState]:
    """Every SuperNode that was ever approved."""
    with control(folder) as client:
        found = client.ListNodes(ListNodesRequest()).nodes_info
    return [
        NodeState(
            node=info.node_id,
            site=info.name,
            status=info.status,
            seen=info.online_until - HEARTBEAT_PATIENCE * info.heartbeat_interval
            if info.last_activated_at
            else 0.0,
        )
        for info in found
    ]


def last_seen(node: NodeState | None) -> str:
    """When a node last gave a sign of life, in words."""
    if node is None or not node.seen:
        return "never"
    if node.status == "online":
        return "now"
    seen = datetime.datetime.fromtimestamp(node.seen, datetime.UTC)
    return seen.isoformat(timespec="seconds")


def run_state(folder: FederationFolder, run_id: int) -> str:
    """`pending`, `running`, ..., or `finished:` and how."""
    with control(folder) as client:
        found = client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict
    if run_id not in found:
        return "unknown"
    status = found[run_id].status
    return f"finished:{status.sub_status}" if status.status == "finished" else str(status.status)


def stop_run(folder: FederationFolder, run_id: int) -> None:
    """End a run, if it has not ended."""
    state = run_state(folder, run_id)
    if state != "unknown" and not state.startswith("finished"):
        with control(folder) as client:
            client.StopRun(StopRunRequest(run_id=run_id))
