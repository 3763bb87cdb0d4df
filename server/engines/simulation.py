"""Run the two apps as a simulation: on Ray workers, in this process, or by Flower's engine."""

import contextlib
import logging

from flwr.app import Context, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fl.messages.job import Job
from server.engines.flower_simulation import run_flower_simulation
from server.engines.in_process import LocalGrid
from server.engines.ray_grid import RayGrid
from server.engines.ray_workers import WorkerPool, n_gpus, n_workers, ray_running


def simulate(
    server_app: ServerApp,
    client_app: ClientApp,
    job: Job,
    n_sites: int,
    pool: WorkerPool | None = None,
) -> None:
    """One federated training; raises what the ServerApp raises.

    `crew`: Ray with workers of this run, if they were started before.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    if job.config.ray_address:
        from server.engines.ray_cluster import simulate_on_cluster

        simulate_on_cluster(server_app, client_app, job, n_sites)
        return
    run_config = UserConfig({"job": job.model_dump_json()})
    engine = job.config.engine
    if engine == "flower":
        run_flower_simulation(server_app, client_app, job, n_sites)
        return
    context = Context(
        run_id=1, node_id=1, node_config=UserConfig(), state=RecordDict(), run_config=run_config
    )
    if engine == "local":
        server_app(LocalGrid(client_app, n_sites), context)
        return
    workers, share = n_workers(job.config, n_sites), n_gpus(job.config, n_sites)
    with ray_running(job.config) if pool is None else contextlib.nullcontext():
        started = [] if pool is None else pool.take()
        grid = RayGrid(client_app, n_sites, workers, share, started)
        try:
            server_app(grid, context)
        finally:
            grid.close()
