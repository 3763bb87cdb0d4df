"""Run the two apps as a simulation: on Ray workers, in this process, or by Flower's engine."""

import contextlib
import logging

from flwr.app import Context, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fl.messages.job import Job
from server.engines.flower_simulation import run_flower_simulation
from server.engines.grid_internals import own_grids_work
from server.engines.in_process import LocalGrid
from server.engines.ray_grid import RayGrid
from server.engines.ray_workers import LocalWorkers, WorkerPool, n_gpus, n_workers, ray_running


def simulate(
    server_app: ServerApp,
    client_app: ClientApp,
    job: Job,
    n_sites: int,
    pool: WorkerPool | None = None,
) -> None:
    """One federated training; raises what the ServerApp raises.

    `pool`: Ray with workers for this run, if they were started before.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    engine = job.config.engine
    otherwise = f"Flower's own engine is used instead of {engine!r}; results are the same"
    if job.config.ray_address:
        from server.engines.ray_cluster import cluster_grid

        with cluster_grid(client_app, job, n_sites) as (grid, on_cluster):
            _run(server_app, grid, on_cluster)
    elif engine == "flower" or not own_grids_work(otherwise):
        if pool is not None:
            pool.close()  # Flower starts Ray itself
        run_flower_simulation(server_app, client_app, job, n_sites)
    elif engine == "local":
        _run(server_app, LocalGrid(client_app, n_sites), job)
    else:
        _simulate_on_ray(server_app, client_app, job, n_sites, pool)


def _simulate_on_ray(
    server_app: ServerApp, client_app: ClientApp, job: Job, n_sites: int, pool: WorkerPool | None
) -> None:
    with ray_running(job.config) if pool is None else contextlib.nullcontext():
        started = [] if pool is None else pool.take()
        workers = LocalWorkers(client_app, n_gpus(job.config, n_sites), started)
        number = max(len(started), n_workers(job.config, n_sites))
        grid = RayGrid(workers, n_sites, number)
        try:
            _run(server_app, grid, job)
        finally:
            grid.close()


def _run(server_app: ServerApp, grid: Grid, job: Job) -> None:
    settings = UserConfig({"job": job.model_dump_json()})
    context = Context(
        run_id=1, node_id=1, node_config=UserConfig(), state=RecordDict(), run_config=settings
    )
    server_app(grid, context)
