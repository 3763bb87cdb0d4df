"""Flower's own simulation engine."""

import logging
from typing import Any

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fl.messages.job import Job
from server.engines.ray_workers import (
    KEEP_FREED_MEMORY,
    OBJECT_STORE,
    n_gpus,
    n_workers,
    ray_folder,
    set_worker_environment,
)


def run_flower_simulation(
    server_app: ServerApp, client_app: ClientApp, job: Job, n_sites: int
) -> None:
    """One federated training; raises what the ServerApp raises."""
    from flwr.simulation import run_simulation

    set_worker_environment(KEEP_FREED_MEMORY)
    app_with_job = ServerApp()

    @app_with_job.main()
    def main(grid: Grid, context: Context) -> None:
        context.run_config["job"] = job.model_dump_json()
        server_app(grid, context)

    resources: dict[str, Any] = {"num_cpus": 1, "num_gpus": n_gpus(job.config, n_sites)}
    run_simulation(
        server_app=app_with_job,
        client_app=client_app,
        num_supernodes=n_sites,
        backend_config={
            "client_resources": resources,
            "init_args": {
                "num_cpus": n_workers(job.config, n_sites),
                "object_store_memory": OBJECT_STORE,
                "logging_level": logging.ERROR,
                "log_to_driver": False,
                "_temp_dir": ray_folder(),
            },
        },
    )
