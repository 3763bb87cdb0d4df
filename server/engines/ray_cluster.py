"""The simulation on an existing Ray cluster, whose machines need not share a disk.

A machine fetches the preprocessed recordings once, into its own cache. What a site keeps between
its visits lies in the run directory, on the machine that runs the server: a visit is handed what
it needs of it and hands back what it wrote. So a site may be visited on any machine, and a run can
be gone on with on the cluster or without it.
"""

import contextlib
import csv
import io
import logging
import math
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, MessageType, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fl.config.run_config import POOLED
from fl.messages.flower_codec import read_job, read_round
from fl.messages.job import Job
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, FederationError
from partitions.partition import CENTRAL, UNSEEN
from server.engines.cluster_files import (
    FOR_TRAINING,
    LAST,
    SITES,
    CacheSender,
    ClusterWorker,
    Files,
    Machine,
    versions,
)
from server.engines.grid_base import WAIT, SimulatedGrid, error_reply

ANSWER, CONNECT, START = 5.0, 60.0, 180.0  # seconds for a port, for Ray, for the workers to begin
LEAVE = 5.0  # seconds for the workers to tidy up

# In a process of its own: Ray tries for minutes to reach what is not there, and cannot be told
# not to.
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
            "`ray start --head`, or name the one there is."
        ) from None


def simulate_on_cluster(
    server_app: ServerApp, client_app: ClientApp, job: Job, n_sites: int
) -> None:
    """One federated training; raises what the ServerApp raises."""
    with cluster_grid(client_app, job, n_sites) as (grid, on_cluster):
        context = Context(
            run_id=1,
            node_id=1,
            node_config=UserConfig(),
            state=RecordDict(),
            run_config=UserConfig({"job": on_cluster.model_dump_json()}),
        )
        server_app(grid, context)


@contextlib.contextmanager
def cluster_grid(
    client_app: ClientApp, job: Job, n_sites: int
) -> Iterator[tuple["ClusterGrid", Job]]:
    """Workers on the cluster, and the job with their number, for the length of the run."""
    import ray

    config, address = job.config, job.config.ray_address
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--ray-address {address}: {' '.join(str(error).split())}") from error
    try:
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
        if cores < max(config.workers, 1):
            raise ConfigError(
                f"--workers is {config.workers}, but the cluster at {address} has {cores} cores."
            )
        workers = min(config.workers or cores, n_sites)
        if config.device == "cuda" and not gpus:
            raise ConfigError(f"--device is 'cuda', but the cluster at {address} has no GPU.")
        # Equal shares, each of which fits on one GPU.
        share = 1 / math.ceil(workers / gpus) if config.device == "cuda" else 0.0
        job = job.model_copy(update={"config": config.model_copy(update={"workers": workers})})
        grid = ClusterGrid(client_app, job, n_sites, share)
        try:
            grid.begin()
            yield grid, job
        finally:
            grid.close()
    finally:
        ray.shutdown()


class ClusterGrid(SimulatedGrid):
    """Clients on workers of one core each, on the machines of a cluster.

    A worker that dies or hangs is replaced, and its message is answered with an error. A machine
    that is lost takes only its workers along.
    """

    def __init__(self, client_app: ClientApp, job: Job, n_sites: int, n_gpus: float) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        super().__init__(n_sites)
        self._ray, self._job, self._log = ray, job, logging.getLogger("heartfed")
        home = ray.get_runtime_context().get_node_id()
        here: Any = NodeAffinitySchedulingStrategy(home, soft=False)
        sender: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(CacheSender)
        self._sender = sender.remote(job.shards)
        self._folders: dict[str, tuple[str, ...]] = {home: job.shards}  # of each machine
        self._place: dict[Any, Machine] = {}  # of each worker
        self._starting: dict[Any, Any] = {}  # future of its place -> worker
        self._laying: dict[Any, Any] = {}  # future of its machine's folders -> worker that fetches
        self._fetched_for: dict[str, list[Any]] = {}  # machine -> workers that wait for its copy
        partition = (Path(job.workspace) / "partition.csv").read_bytes()
        rows = csv.DictReader(io.StringIO(partition.decode()))
        self._sites = sorted({row["site"] for row in rows} - {CENTRAL, UNSEEN})
        self._given = ray.put(client_app), ray.put(partition), n_gpus
        self._worker: Any = ray.remote(num_cpus=1, num_gpus=n_gpus, scheduling_strategy="SPREAD")(
            ClusterWorker
        )
        self._idle: list[Any] = []
        self._queue: deque[Message] = deque()
        self._running: dict[Any, tuple[Any, Message]] = {}  # future -> worker, message
        for _ in range(job.config.workers):
            self._add_worker()

    def _add_worker(self) -> None:
        actor = self._worker.remote(*self._given)
        self._starting[actor.where.remote()] = actor

    def submit(self, message: Message) -> None:
        self._queue.append(message)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue and self._idle:
            message, actor = self._queue.popleft(), self._idle.pop()
            context = self.contexts[message.metadata.dst_node_id]
            shards = self._folders[self._place[actor].node]
            files = self._needed(message, context)
            future = actor.visit.remote(message, context, shards, files)
            self._running[future] = actor, message

    def begin(self) -> None:
        """Wait for all workers, and for every machine's copy; `ConfigError` if that fails."""
        address, asked = self._job.config.ray_address, len(self._starting)
        began = time.monotonic()
        while self._starting or self._laying:
            for trouble in self._settle(WAIT):
                raise ConfigError(f"--ray-address {address}: {trouble}")
            seconds = time.monotonic() - began
            if self._starting and seconds > START:
                raise ConfigError(
                    f"--ray-address {address}: {len(self._starting)} of {asked} workers did not "
                    f"begin within {START:g} s. If others use its cores, ask for fewer --workers."
                )
            if seconds > START + self._job.config.timeout:
                raise ConfigError(
                    f"--ray-address {address}: the recordings were not sent within "
                    f"{self._job.config.timeout:g} s. Raise --timeout."
                )

    def _settle(self, timeout: float) -> list[str]:
        """Put workers to work that have begun and whose machine has its copy; what went wrong."""
        troubles = []
        done, _ = self._ray.wait([*self._starting, *self._laying], timeout=timeout)
        for future in done:
            actor, fetcher = self._starting.pop(future, None), self._laying.pop(future, None)
            try:
                if actor is not None:
                    self._begun(actor, self._ray.get(future))
                else:
                    self._laid_down(fetcher, *self._ray.get(future))
            except self._ray.exceptions.RayTaskError as error:
                troubles.append(" ".join(str(error.cause).split()))
            except (self._ray.exceptions.RayError, ConfigError) as error:
                troubles.append(" ".join(str(error).split()))
            else:
                continue
            if fetcher is not None:  # who comes to its machine later tries again
                del self._fetched_for[self._place[fetcher].node]
        return troubles

    def _begun(self, actor: Any, place: Machine) -> None:
        """A worker is there. The first on a machine without a copy fetches it for all."""
        for name, ours in versions().items():
            if (theirs := place.versions.get(name)) != ours:
                raise ConfigError(
                    f"{place.address} has {name} {theirs}, here it is {ours}. Install the same "
                    "version there."
                )
        self._place[actor] = place
        if place.node in self._folders:
            self._idle.append(actor)
            self._dispatch()
            return
        self._fetched_for.setdefault(place.node, []).append(actor)
        if actor is self._fetched_for[place.node][0]:
            names = [Path(folder).name for folder in self._job.shards]
            self._laying[actor.fetch_folders.remote(names, self._sender)] = actor

    def _laid_down(self, actor: Any, folders: tuple[str, ...], fetched: int) -> None:
        place = self._place[actor]
        self._log.info("%s (%s) fetched %d bytes", place.address, place.node[:8], fetched)
        self._folders[place.node] = folders
        self._idle += self._fetched_for.pop(place.node)
        self._dispatch()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        if self._starting or self._laying:
            for trouble in self._settle(0 if self._running else WAIT):
                self._log.warning("a worker could not begin: %s", trouble)
        elif not self._running and not self._idle:
            raise FederationError("No worker of the cluster is left. Go on with --resume.")
        if not self._running:
            return []
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=WAIT)
        return [self._finish(future) for future in done]

    def _finish(self, future: Any) -> Message:
        actor, message = self._running.pop(future)
        reply: Message
        try:
            reply, self.contexts[message.metadata.dst_node_id], files = self._ray.get(future)
            self._keep(files)
            self._idle.append(actor)
        except self._ray.exceptions.RayTaskError as error:
            reply = error_reply(message, error.cause)
            self._idle.append(actor)
        except self._ray.exceptions.RayError as error:  # or what it brought was lost
            self._log.debug("a worker died", exc_info=error)
            reply = error_reply(message, RuntimeError("its worker process died"))
            self._ray.kill(actor)
            self._add_worker()
        self._dispatch()
        return reply

    def abandon(self, message_ids: Iterable[str]) -> None:
        given_up = set(message_ids)
        self._queue = deque(m for m in self._queue if m.metadata.message_id not in given_up)
        for future, (actor, message) in list(self._running.items()):
            if message.metadata.message_id in given_up:
                # The client may hang for ever, and only its process can be ended.
                del self._running[future]
                self._ray.kill(actor)
                self._add_worker()
        self._dispatch()

    def _keep(self, files: Files) -> None:
        """What a site keeps goes into the run directory."""
        sites = Path(self._job.workspace) / SITES
        for path, content in files.items():
            (sites / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(sites / path, content)
            if (folder := (sites / path).parent).name in FOR_TRAINING:
                for old in sorted(folder.glob("[0-9]*"))[:-LAST]:
                    old.unlink()

    def _needed(self, message: Message, context: Context) -> Files:
        """Of what the site keeps, the last of each kind from before the visit."""
        kind = message.metadata.message_type
        if kind == MessageType.QUERY:
            return {}
        job, number = read_job(message), read_round(message)
        trains = kind == MessageType.TRAIN
        name = self._sites[int(str(context.node_config["partition-id"]))]
        site = POOLED if trains and job.strategy == POOLED else name
        sites, files = Path(self._job.workspace) / SITES, {}
        for folder in (sites / site / job.strategy).glob("*"):
            if not trains and folder.name in FOR_TRAINING:
                continue
            # What an evaluation reads may be of its own round.
            before = number if trains else number + 1
            known = [p for p in sorted(folder.glob("[0-9]*")) if int(p.stem) < before]
            for path in known[-1:]:
                files[path.relative_to(sites).as_posix()] = path.read_bytes()
        return files

    def close(self) -> None:
        """End the workers; their machines keep the cache and nothing else."""
        leaving = [actor.leave.remote() for actor in self._idle]
        if leaving:
            self._ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE)
        for actor in [*self._idle, *(actor for actor, _ in self._running.values())]:
            self._ray.kill(actor)
