"""Run the two apps as a simulation: on Ray workers, in this process, or by Flower's engine."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from flwr.app import Context, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fl.errors import ConfigError
from fl.wire import Job
from server.grids import LocalGrid, RayGrid

OBJECT_STORE = 256 * 2**20  # bytes; weights and counts are all that passes through it


def simulate(server_app: ServerApp, client_app: ClientApp, job: Job, n_sites: int) -> None:
    """One federated training; raises what the ServerApp raises."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    if job.config.ray_address:
        from server.cluster import simulate_on_cluster

        simulate_on_cluster(server_app, client_app, job, n_sites)
        return
    run_config = UserConfig({"job": job.model_dump_json()})
    engine = job.config.engine
    if engine == "flower":
        _flower(server_app, client_app, job, n_sites)
        return
    context = Context(
        run_id=1, node_id=1, node_config=UserConfig(), state=RecordDict(), run_config=run_config
    )
    if engine == "local":
        server_app(LocalGrid(client_app, n_sites), context)
        return
    with ray_running(job):
        grid = RayGrid(client_app, n_sites, n_workers(job, n_sites), n_gpus(job, n_sites))
        try:
            server_app(grid, context)
        finally:
            grid.close()


def n_workers(job: Job, n_sites: int) -> int:
    """Worker processes: as asked, else one per core, and never more than sites."""
    return min(job.config.workers or available_cores(), n_sites)


def n_gpus(job: Job, n_sites: int) -> float:
    """Each worker's share of the GPU."""
    return 1.0 / n_workers(job, n_sites) if job.config.device == "cuda" else 0.0


def available_cores() -> int:
    """Cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def ray_running(job: Job) -> Iterator[None]:
    """Ray on this machine, for the length of the run."""
    import ray

    workers = job.config.workers or available_cores()
    # Ray's workers would give way to everything else on the machine (niceness 15), and a round
    # would take as long as whatever runs beside it likes.
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE,
        configure_logging=True,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _flower(server_app: ServerApp, client_app: ClientApp, job: Job, n_sites: int) -> None:
    """Flower's own simulation engine, kept behind this one function."""
    from flwr.simulation import run_simulation

    bound = ServerApp()

    @bound.main()
    def main(grid: Grid, context: Context) -> None:
        context.run_config["job"] = job.model_dump_json()
        server_app(grid, context)

    resources: dict[str, Any] = {"num_cpus": 1, "num_gpus": n_gpus(job, n_sites)}
    run_simulation(
        server_app=bound,
        client_app=client_app,
        num_supernodes=n_sites,
        backend_config={
            "client_resources": resources,
            "init_args": {
                "num_cpus": n_workers(job, n_sites),
                "object_store_memory": OBJECT_STORE,
                "logging_level": logging.ERROR,
                "log_to_driver": False,
            },
        },
    )


def check_device(device: str) -> None:
    """`ConfigError` if the device is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is 'cuda', but torch finds no GPU here. Use --device cpu.")
