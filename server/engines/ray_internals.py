"""Ray's start without the processes that a run on one machine has no use for.

Beside its two servers (gcs_server and raylet) and the workers, Ray starts five processes that help
to watch and grow a cluster: the dashboard's server and its agent, one that installs packages for
tasks, one that forwards log files, one that asks for more machines. Each takes half a second of a
core to load, and `ray.init` waits for three of them. Ray has no setting for this:
`include_dashboard=False` only makes the dashboard smaller.
"""

import contextlib
import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# What is replaced below is private to Ray, so only versions on which the tests passed are named.
# Any other starts as Ray starts it.
KNOWN = ("2.55.1",)
AGENT_STAND_IN = Path(__file__).with_name("ray_agent_stand_in.py")

# Settings of Ray itself, read by its servers, its workers and this process.
ENVIRONMENT = {
    # Ray's workers would give way to everything else on the machine (niceness 15), and a round
    # would take as long as whatever runs beside it likes.
    "RAY_worker_niceness": "0",
    # A server that asks another too early asks again after a second, ten times at most.
    "RAY_raylet_client_connect_timeout_milliseconds": "20",
    "RAY_raylet_client_num_connect_attempts": "500",
    # Each task would be put on a list for the dashboard, and the end would wait for it.
    "RAY_task_events_report_interval_ms": "0",
    # `ray.init` would wait for workers that are asked for only after it.
    "RAY_prestart_worker_first_driver": "0",
}


def can_start_minimal() -> bool:
    """Whether Ray can be started without them here."""
    import ray

    # A job of a Ray cluster may bring packages to install.
    foreign = {"RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_ADDRESS"} & set(os.environ)
    return ray.__version__ in KNOWN and sys.platform == "linux" and not foreign


@contextlib.contextmanager
def minimal_ray_processes() -> Iterator[None]:
    """While this lasts, `ray.init` starts gcs_server, raylet, two stand-ins and nothing else."""
    if not can_start_minimal():
        yield
        return
    from ray._private import node, parameter, services, utils, worker

    params: Any = parameter.RayParams
    params = functools.partial(params, include_log_monitor=False, no_monitor=True)
    start = services.start_ray_process
    replaced: list[tuple[Any, str, Any]] = [
        (parameter, "RayParams", params),
        (node.Node, "start_api_server", lambda *_, **__: None),
        # Whether the dashboard's libraries are there: to find out takes longer than to start Ray.
        (utils, "get_dashboard_dependency_error", lambda: None),
        # Under `uv run` workers would be started by uv too, from a copy of this folder.
        (worker, "_maybe_modify_runtime_env", lambda runtime_env, *_: runtime_env),
        (services, "start_ray_process", functools.partial(_start, start)),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    try:
        for owner, name, other in replaced:
            setattr(owner, name, other)
        yield
    finally:
        for owner, name, own in before:
            setattr(owner, name, own)


def _start(start: Any, command: Sequence[str], process_type: str, *args: Any, **named: Any) -> Any:
    """Ray's `start_ray_process`, which gets the raylet two stand-ins for the agents it wants."""
    if process_type == "raylet":
        command = _with_stand_ins(command)
    return start(command, process_type, *args, **named)


def _with_stand_ins(command: Sequence[str]) -> list[str]:
    raylet: Any = importlib.import_module("ray._raylet")
    options = dict(part.split("=", 1) for part in command if part.startswith("--") and "=" in part)
    # An agent tells the raylet where it listens; -1, as Ray's own do without a dashboard: nowhere.
    for name in (
        raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME,
        raylet.METRICS_AGENT_PORT_NAME,
        raylet.METRICS_EXPORT_PORT_NAME,
        raylet.RUNTIME_ENV_AGENT_PORT_NAME,
    ):
        raylet.persist_port(options["--session_dir"], options["--node_id"], name, -1)
    stand_in = subprocess.list2cmdline([sys.executable, "-I", "-S", str(AGENT_STAND_IN)])
    agents = ("--dashboard_agent_command", "--runtime_env_agent_command")
    return [
        f"{part.split('=', 1)[0]}={stand_in}" if part.startswith(agents) else part
        for part in command
    ]
