"""Ray and its worker processes, started while a run still prepares its records.

Imports little, so that it can be the first thing a run does: Ray needs some seconds to start, and
its workers some more to load torch, and all that time nobody needs this process's core.
"""

import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fl.config.run_config import RunConfig
from fl.util.fast_import import without_garbage_collection
from server.engines.ray_internals import ENVIRONMENT, minimal_ray_processes

if TYPE_CHECKING:  # Flower takes a while to load, and Ray can start before
    from flwr.app import ArrayRecord, Context, Message
    from flwr.clientapp import ClientApp

OBJECT_STORE = 256 * 2**20  # bytes; weights and counts are all that passes through it


class ClientWorker:
    """A process that runs clients."""

    def __init__(self, modules: Sequence[str] = (), n_gpus: float = 0.0) -> None:
        with without_garbage_collection():
            for name in modules:
                importlib.import_module(name)
        if n_gpus:
            from fl.util.gpu_memory import limit_gpu_memory  # here: it loads torch

            limit_gpu_memory(n_gpus)

    def serve(self, client_app: "ClientApp") -> None:
        """The client to run from now on."""
        self._app = client_app

    def handle(
        self, message: "Message", context: "Context", arrays: "Sequence[ArrayRecord]"
    ) -> "tuple[Message, Context]":
        """The client's reply and its context, which may hold what it wants to remember.

        `arrays`: of the message, which comes without: all visits of a round share them.
        """
        for name, record in zip(message.content.array_records, arrays, strict=True):
            message.content[name] = record
        return self._app(message, context), context


def start_worker(n_gpus: float, modules: Sequence[str] = ()) -> Any:
    """A new actor of one core that loads these modules; returns before it has."""
    import ray  # here: a deployed run has no use for it

    return ray.remote(num_cpus=1, num_gpus=n_gpus, max_restarts=0)(ClientWorker).remote(
        modules, n_gpus
    )


def available_cores() -> int:
    """Cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def n_workers(config: RunConfig, n_sites: int) -> int:
    """Worker processes: as asked, else one per core, and never more than sites."""
    return min(config.workers or available_cores(), n_sites)


def n_gpus(config: RunConfig, n_sites: int) -> float:
    """Each worker's share of the GPU."""
    return 1.0 / n_workers(config, n_sites) if config.device == "cuda" else 0.0


def load_ray() -> None:
    """Load Ray with our settings, which it reads once."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    importlib.import_module("ray")


@contextlib.contextmanager
def ray_running(config: RunConfig) -> Iterator[None]:
    """Ray on this machine."""
    load_ray()
    import ray

    with minimal_ray_processes():
        ray.init(
            num_cpus=config.workers or available_cores(),
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


class WorkerPool:
    """Ray with workers for a run of this configuration, started and ended in the background.

    Ray's processes end with the thread that started them, so one thread starts Ray, waits and
    shuts it down. `modules` are what the workers will need: they load them as soon as they are
    there.
    """

    def __init__(self, config: RunConfig, modules: Sequence[str] = ()) -> None:
        # Not in the thread: it would take turns with what this thread loads, and Ray's processes,
        # which have the other cores, would begin a second later.
        load_ray()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._running = contextlib.ExitStack()
        self._left: Future[None] | None = None
        self._actors: Future[list[Any]] = self._thread.submit(self._start, config, modules)
        if threading.current_thread() is threading.main_thread():
            # As Ray does where it is started by the main thread: to end it is to end in order.
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))

    def _start(self, config: RunConfig, modules: Sequence[str]) -> list[Any]:
        self._running.enter_context(ray_running(config))
        share = n_gpus(config, config.clients)
        return [start_worker(share, modules) for _ in range(n_workers(config, config.clients))]

    def take(self) -> list[Any]:
        """The workers; whoever takes them ends them. Waits for Ray, not for the workers.

        Ray goes on without them: whoever comes next starts workers of their own.
        """
        actors, self._actors = self._actors.result(), Future()
        self._actors.set_result([])
        return actors

    def leave(self) -> None:
        """Begin to shut Ray down; nobody takes workers any more."""
        if self._left is None:
            self._left = self._thread.submit(self._running.close)

    def close(self) -> None:
        """Shut Ray down and wait for it."""
        self.leave()
        self._thread.shutdown()
