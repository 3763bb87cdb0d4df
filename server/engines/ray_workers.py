"""Ray and its worker processes, started while a run still prepares its records.

It imports little, so that a run can begin with it: Ray needs some seconds to start and its workers
some more to load torch, and this process's core is free in that time.
"""

import contextlib
import functools
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fl.config.run_config import RunConfig
from fl.util.cores import available_cores
from fl.util.errors import ConfigError
from fl.util.imports.fast_import import without_garbage_collection
from server.engines.ray_internals import minimal_ray_processes, ray_settings

if TYPE_CHECKING:  # Flower takes a while to load, and Ray can start before
    from flwr.app import ArrayRecord, Context, Message
    from flwr.clientapp import ClientApp

    from server.engines.site_visits import Visits

# The longest path of a socket in Ray's folder: date and time, process, number of the socket.
RAY_SOCKET = "session_2026-01-01_12-00-00_123456_4194304/sockets/plasma_store_1"
OBJECT_STORE = 256 * 2**20  # bytes; weights and counts are all that passes through it

# glibc gives large blocks of memory back to the kernel at once, which clears them again for the
# next training step. With these documented variables (mallopt(3)) a process keeps them. Measured
# for the default network: 540 page faults a step without, 24 with them and 19 with the same
# thresholds set by `mallopt`; 2 of the 20 ms of a step. A process reads them as it starts.
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the largest that glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}


class ClientWorker:
    """A process that runs clients."""

    def __init__(self, modules: Sequence[str] = (), n_gpus: float = 0.0) -> None:
        self._combine: tuple[tuple[Any, ...], Any] = ((), None)  # where Ray holds it, and it
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
        self,
        messages: "Sequence[Message]",
        contexts: "Sequence[Context]",
        arrays: "Sequence[ArrayRecord]",
        combine: Sequence[Any] = (),
    ) -> "Visits":
        """What the client replies to each request, or one answer for several.

        `arrays`: those of each message, sent apart because all requests of a round share them.
        `combine`: where Ray holds the function that combines replies, or nothing.
        """
        from server.engines.site_visits import make_visits  # here: it loads Flower

        return make_visits(self._app, messages, contexts, arrays, self._loaded(combine))

    def _loaded(self, place: Sequence[Any]) -> Any:
        """The function that Ray holds there, which is loaded once for all requests of a round."""
        if tuple(place) != self._combine[0]:
            import ray

            self._combine = tuple(place), ray.get(place[0]) if place else None
        return self._combine[1]


def start_worker(n_gpus: float, modules: Sequence[str] = ()) -> Any:
    """A new actor of one core that loads these modules; returns before it has."""
    import ray  # here: a deployed run does not need it

    return ray.remote(num_cpus=1, num_gpus=n_gpus, max_restarts=0)(ClientWorker).remote(
        modules, n_gpus
    )


class LocalWorkers:
    """Workers on this machine, which read and write a site's files by themselves."""

    def __init__(
        self, client_app: "ClientApp", n_gpus: float = 0.0, started: Sequence[Any] = ()
    ) -> None:
        """`started`: workers from `start_worker` to use before new ones are started."""
        import ray

        self._app, self._n_gpus, self._started = ray.put(client_app), n_gpus, list(started)

    def create(self) -> Any:
        return self._started.pop(0) if self._started else start_worker(self._n_gpus)

    def start(self, actor: Any) -> Generator[Any, Any, None]:
        actor.serve.remote(self._app)
        yield from ()  # it takes requests at once: Ray queues them

    def send(
        self,
        actor: Any,
        messages: "Sequence[Message]",
        contexts: "Sequence[Context]",
        arrays: Any,
        combine: Sequence[Any],
    ) -> Any:
        return actor.handle.remote(messages, contexts, arrays, combine)

    def read(self, answer: "Visits") -> "Visits":
        return answer

    def clean_up(self, actors: Sequence[Any]) -> None:
        """Nothing: what they write belongs to the run directory."""


def n_workers(config: RunConfig, n_sites: int) -> int:
    """Worker processes: as configured, else one per core, and never more than sites."""
    return min(config.workers or available_cores(), n_sites)


def n_gpus(config: RunConfig, n_sites: int) -> float:
    """Each worker's share of the GPU."""
    return 1.0 / n_workers(config, n_sites) if config.device == "cuda" else 0.0


def set_worker_environment(settings: Mapping[str, str]) -> None:
    """Set what Ray's workers, started after this, inherit. What the user has set stays."""
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def load_ray() -> None:
    """Load Ray with our settings, which it reads once and its workers inherit."""
    set_worker_environment(KEEP_FREED_MEMORY)
    set_worker_environment(ray_settings())
    importlib.import_module("ray")


@functools.cache
def ray_folder() -> str:
    """The folder for Ray's files: its usual one, or a short one where that is too long.

    The address of a Unix socket has 107 bytes (unix(7); 103 on macOS), and Ray's sockets are deep
    below its folder. Raises ConfigError if no folder for temporary files is short enough.
    """
    most = 103 if sys.platform == "darwin" else 107
    # As Ray chooses it.
    usual = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    for folder in (usual, "/tmp", "/var/tmp", "/dev/shm"):
        place = os.path.join(folder, "ray")
        fits = len(os.fsencode(os.path.join(place, RAY_SOCKET))) <= most
        if fits and (folder == usual or os.access(folder, os.W_OK | os.X_OK)):
            if folder != usual:
                print(f"{usual} is too long for Ray's sockets; Ray uses {place}.", file=sys.stderr)
            return place
    raise ConfigError(
        f"TMPDIR is {usual}, of {len(os.fsencode(usual))} bytes. Ray needs a folder of at most "
        f"{most - len(RAY_SOCKET) - len('/ray/')}. Set TMPDIR to a shorter one, or use --engine "
        "local."
    )


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
            _temp_dir=ray_folder(),
        )
    try:
        yield
    finally:
        ray.shutdown()


class WorkerPool:
    """Ray with workers for a run of this configuration, started and ended in the background.

    Ray's processes end with the thread that started them, so one thread starts Ray, waits and
    shuts it down. `modules` are what the workers will need: each loads them as it starts.
    """

    def __init__(self, config: RunConfig, modules: Sequence[str] = ()) -> None:
        # Not in the thread: Python would switch between it and what this thread loads, and Ray's
        # processes, which have the other cores, would start a second later.
        load_ray()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._running = contextlib.ExitStack()
        self._stopped: Future[None] | None = None
        self._actors: Future[list[Any]] = self._thread.submit(self._start, config, modules)
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            # Ray does this where the main thread starts it: SIGTERM ends the process in order. A
            # command has a handler of its own, which also prints how to continue.
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))

    def _start(self, config: RunConfig, modules: Sequence[str]) -> list[Any]:
        self._running.enter_context(ray_running(config))
        share = n_gpus(config, config.clients)
        return [start_worker(share, modules) for _ in range(n_workers(config, config.clients))]

    def take(self) -> list[Any]:
        """The workers; whoever takes them ends them. Waits for Ray, not for the workers.

        Ray keeps running: a second call returns no workers, and the caller starts its own.
        """
        actors, self._actors = self._actors.result(), Future()
        self._actors.set_result([])
        return actors

    def leave(self) -> None:
        """Begin to shut Ray down; nobody takes workers any more."""
        if self._stopped is None:
            self._stopped = self._thread.submit(self._running.close)

    def close(self) -> None:
        """Shut Ray down and wait for it."""
        self.leave()
        self._thread.shutdown()
