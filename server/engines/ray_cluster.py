"""Join an existing Ray cluster, and start a run's workers on its machines."""

import contextlib
import logging
import math
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import ray
from flwr.clientapp import ClientApp

from fl.config.run_config import RunConfig
from fl.messages.job import Job
from fl.util.errors import ConfigError
from server.engines.cluster_workers import ClusterWorkers
from server.engines.grid_base import WAIT
from server.engines.grid_internals import FLOWER_VERSIONS, own_grids_work
from server.engines.ray_grid import RayGrid

ANSWER, CONNECT, START = 5.0, 60.0, 180.0  # seconds for a port, for Ray, for the workers to start

# In a process of its own: Ray tries for minutes to reach a cluster that is not there, and has no
# setting for this.
_TRY = """
import logging, sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
except Exception as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
"""


def check_cluster(address: str) -> None:
    """`ConfigError`, in a bounded time, unless a Ray cluster that we can join is there."""
    if not own_grids_work("a Ray cluster cannot be used"):
        raise ConfigError(
            f"--ray-address needs Flower {', '.join(FLOWER_VERSIONS)}. Install it, or leave "
            "--ray-address out."
        )
    if address != "auto":
        _check_listening(address)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, address],
            capture_output=True,
            text=True,
            timeout=CONNECT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"no Ray cluster answered within {CONNECT:g} s"
    else:
        if done.returncode == 0:
            return
        reason = done.stdout.strip() or f"Ray ended with code {done.returncode}"
    raise ConfigError(
        f"--ray-address {address}: {reason}. Run on a machine of the cluster, which joins it with "
        "`ray start --address=HOST:PORT`."
    )


def _check_listening(address: str) -> None:
    """`ConfigError` unless something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ConfigError(f"--ray-address is {address!r}. Accepted: HOST:PORT, auto.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--ray-address {address}: nothing answers there ({reason}). Start a cluster with "
            "`ray start --head`, or name one that is running."
        ) from None


@contextlib.contextmanager
def cluster_grid(client_app: ClientApp, job: Job, n_sites: int) -> Iterator[tuple[RayGrid, Job]]:
    """Workers on the cluster for the length of the run, and the job with their number."""
    address = job.config.ray_address
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--ray-address {address}: {' '.join(str(error).split())}") from error
    try:
        number, share = _workers_and_share(job.config, n_sites)
        job = job.model_copy(update={"config": job.config.model_copy(update={"workers": number})})
        workers = ClusterWorkers(client_app, job, share)
        grid = RayGrid(workers, n_sites, number)
        try:
            _wait_for_workers(grid, workers, job.config)
            yield grid, job
        finally:
            grid.close()
    finally:
        ray.shutdown()


def _workers_and_share(config: RunConfig, n_sites: int) -> tuple[int, float]:
    """The number of workers, and each one's share of a GPU; `ConfigError` if there is no room."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    where = f"the cluster at {config.ray_address}"
    if cores < max(config.workers, 1):
        raise ConfigError(f"--workers is {config.workers}, but {where} has {cores} cores.")
    if config.device == "cuda" and not gpus:
        raise ConfigError(f"--device is 'cuda', but {where} has no GPU.")
    number = min(config.workers or cores, n_sites)
    # Equal shares, each of which fits on one GPU.
    return number, 1 / math.ceil(number / gpus) if config.device == "cuda" else 0.0


def _wait_for_workers(grid: RayGrid, workers: ClusterWorkers, config: RunConfig) -> None:
    """Wait until all workers take requests; `ConfigError` if one cannot or it takes too long."""
    began = time.monotonic()
    while starting := grid.starting():
        for problem in grid.continue_starts(WAIT):
            raise ConfigError(f"--ray-address {config.ray_address}: {problem}")
        seconds = time.monotonic() - began
        not_up = sum(actor not in workers.machines for actor in starting)
        if not_up and seconds > START:
            raise ConfigError(
                f"--ray-address {config.ray_address}: {not_up} of {config.workers} workers did "
                f"not start within {START:g} s. If others use the cluster's cores, ask for fewer "
                "--workers."
            )
        if seconds > START + config.timeout:
            raise ConfigError(
                f"--ray-address {config.ray_address}: the recordings were not copied within "
                f"{config.timeout:g} s. Raise --timeout."
            )
