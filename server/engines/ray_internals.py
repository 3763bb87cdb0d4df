"""Ray's start without the processes that a run on one machine does not need.

Beside its two servers (gcs_server and raylet) and the workers, Ray starts five processes that
serve a cluster: the dashboard's server and its agent, one that installs packages for tasks, one
that forwards log files, one that asks for more machines. Each takes half a second of a core to
load, and `ray.init` waits for three of them. Ray has no setting for this:
`include_dashboard=False` only makes the dashboard smaller.
"""

import contextlib
import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fl.util.tested_versions import is_tested

# Nothing that is replaced or set below is documented by Ray. Any other version starts as Ray
# starts it.
RAY_VERSIONS = ("2.55.1",)  # tested
AGENT_STAND_IN = Path(__file__).with_name("ray_agent_stand_in.py")

# Settings that Ray's servers, its workers and this process read from the environment.
SETTINGS = {
    # Ray's workers give way to every other program of the machine (niceness 15): a round would
    # take much longer whenever anything else runs.
    "RAY_worker_niceness": "0",
    # A server of Ray that asks another one before it is up asks again after a second, at most ten
    # times. This asks again after 20 ms, for the same ten seconds.
    "RAY_raylet_client_connect_timeout_milliseconds": "20",
    "RAY_raylet_client_num_connect_attempts": "500",
    # Ray sends a list of all tasks to the dashboard, which is not there, and its end waits for it.
    "RAY_task_events_report_interval_ms": "0",
    # `ray.init` starts a worker for each core and waits for them; we start our own after it.
    "RAY_prestart_worker_first_driver": "0",
}


def _is_tested() -> bool:
    otherwise = "Ray starts with its helper processes, which takes some seconds longer"
    return is_tested("ray", RAY_VERSIONS, otherwise)


def can_start_minimal() -> bool:
    """Whether Ray can be started without its helper processes here."""
    # A job of a Ray cluster may bring packages to install.
    cluster_job = {"RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_ADDRESS"} & set(os.environ)
    return _is_tested() and sys.platform == "linux" and not cluster_job


def ray_settings() -> Mapping[str, str]:
    """Settings to put into the environment before Ray is loaded; none for an untested version."""
    return SETTINGS if _is_tested() else {}


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
        # Ray tries to import the dashboard's libraries, which takes longer than its own start.
        (utils, "get_dashboard_dependency_error", lambda: None),
        # Under `uv run` Ray would start its workers through uv, from a copy of this folder.
        (worker, "_maybe_modify_runtime_env", lambda runtime_env, *_: runtime_env),
        (services, "start_ray_process", functools.partial(_start, start)),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    try:
        for owner, name, replacement in replaced:
            setattr(owner, name, replacement)
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _start(start: Any, command: Sequence[str], process_type: str, *args: Any, **named: Any) -> Any:
    """Ray's `start_ray_process`, except that the raylet starts a stand-in for each agent."""
    if process_type == "raylet":
        command = _with_stand_ins(command)
    return start(command, process_type, *args, **named)


def _with_stand_ins(command: Sequence[str]) -> list[str]:
    raylet: Any = importlib.import_module("ray._raylet")
    options = dict(part.split("=", 1) for part in command if part.startswith("--") and "=" in part)
    # An agent writes down the port on which it listens. -1, which Ray's own agents write where
    # there is no dashboard, means that it does not listen.
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
