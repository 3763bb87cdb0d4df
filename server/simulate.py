"""Run the two apps as a simulation: on Ray workers, in this process, or by Flower's engine."""

import contextlib
import logging
from typing import Any

from flwr.app import Context, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fl.errors import ConfigError
from fl.wire import Job
from server.grids import LocalGrid, RayGrid
from server.workers import OBJECT_STORE, Crew, n_gpus, n_workers, ray_running


def simulate(
    server_app: ServerApp,
    client_app: ClientApp,
    job: Job,
    n_sites: int,
    crew: Crew | None = None,
) -> None:
    """One federated training; raises what the ServerApp raises.

    `crew`: Ray with workers of this run, if they were started before.
    """
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
    workers, share = n_workers(job.config, n_sites), n_gpus(job.config, n_sites)
    with ray_running(job.config) if crew is None else contextlib.nullcontext():
        started = [] if crew is None else crew.take()
        grid = RayGrid(client_app, n_sites, workers, share, started)
        try:
            server_app(grid, context)
        finally:
            grid.close()


def _flower(server_app: ServerApp, client_app: ClientApp, job: Job, n_sites: int) -> None:
    """Flower's own simulation engine, kept behind this one function."""
    from flwr.simulation import run_simulation

    bound = ServerApp()

    @bound.main()
    def main(grid: Grid, context: Context) -> None:
        context.run_config["job"] = job.model_dump_json()
        server_app(grid, context)

    resources: dict[str, Any] = {"num_cpus": 1, "num_gpus": n_gpus(job.config, n_sites)}
    run_simulation(
        server_app=bound,
        client_app=client_app,
        num_supernodes=n_sites,
        backend_config={
            "client_resources": resources,
            "init_args": {
                "num_cpus": n_workers(job.config, n_sites),
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
