"""Questions to the SuperLink by Flower's own client of its Control API, without a new process.

Names that Flower does not document are imported where they are used, so that this file can be
loaded with any version.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from server.deploy.federation_store import FederationFolder, NodeState, latest

FLOWER_VERSIONS = ("1.41.0",)  # tested


@contextmanager
def _control(folder: FederationFolder) -> Iterator[Any]:
    """A connection; an error of httpx if the SuperLink does not answer."""
    from flwr.supercore.control import ControlHttpClient
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

    client = ControlHttpClient.from_server_address(
        f"127.0.0.1:{folder.settings().superlink_port}",
        insecure=False,
        root_certificates=folder.ca.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-cli")],
    )
    try:
        yield client
    finally:
        client.close()


def list_nodes(folder: FederationFolder) -> list[NodeState]:
    """Every SuperNode that was ever approved."""
    from flwr.common.constant import HEARTBEAT_PATIENCE
    from flwr.proto.control_pb2 import ListNodesRequest

    with _control(folder) as client:
        found = client.ListNodes(ListNodesRequest()).nodes_info
    return [
        NodeState(
            node=info.node_id,
            status=info.status,
            seen=info.online_until - HEARTBEAT_PATIENCE * info.heartbeat_interval
            if info.last_activated_at
            else 0.0,
            activated=latest([info.last_activated_at]),
        )
        for info in found
    ]


def run_state(folder: FederationFolder, run_id: int) -> str:
    """`pending`, `running`, ..., `finished:` and how, or `unknown`."""
    from flwr.proto.control_pb2 import ListRunsRequest

    with _control(folder) as client:
        # All of them: asked for one that it does not know, the SuperLink answers with an error.
        found = client.ListRuns(ListRunsRequest()).run_dict
    if run_id not in found:
        return "unknown"
    status = found[run_id].status
    return f"finished:{status.sub_status}" if status.status == "finished" else str(status.status)


def stop_run(folder: FederationFolder, run_id: int) -> None:
    """End a run that has not ended."""
    from flwr.proto.control_pb2 import StopRunRequest

    with _control(folder) as client:
        client.StopRun(StopRunRequest(run_id=run_id))
