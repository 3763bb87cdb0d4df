"""Flower's own simulation engine, kept behind one function."""

import logging
from typing import Any

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fl.messages.job import Job
from server.engines.ray_workers import OBJECT_STORE, n_gpus, n_workers


def run_flower_simulation(
    server_app: ServerApp, client_app: ClientApp, job: Job, n_sites: int
) -> None:
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
