"""Workers on the machines of a Ray cluster, which share no disk with the server.

A machine fetches the preprocessed recordings once, into its own cache. What a site keeps between
requests is in the run directory, on the machine of the server: a worker is sent what the request
needs of it and returns what the client wrote. So any machine can serve any site, and a run can be
resumed on the cluster or without it.
"""

import logging
import platform
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp import ClientApp
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import fl
from fl.data.example_cache import default_cache_dir
from fl.messages.flower_codec import set_local_folders
from fl.messages.job import Job
from fl.runs.run_record import PACKAGES
from fl.util.errors import ConfigError
from server.engines.cluster_files import (
    SITES,
    CacheSender,
    Files,
    SiteFiles,
    changed_files,
    fetch_folders,
    lay_out,
)
from server.engines.ray_workers import KEEP_FREED_MEMORY, ClientWorker
from server.engines.site_visits import Visits

CLEAN_UP = 5.0  # seconds for the workers to remove their folders

Answer = tuple[Visits, Files]  # what the clients replied, files that they wrote


def versions() -> dict[str, str]:
    """Versions of everything that decides the results to the bit."""
    packages = {package: version(package) for package in PACKAGES}
    return {"heartfed": fl.__version__, "python": platform.python_version()} | packages


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine a worker is on."""

    node: str  # Ray's name for it
    address: str
    versions: Mapping[str, str]


class ClusterWorker(ClientWorker):
    """A worker with a temporary run directory of its own."""

    def __init__(self, client_app: ClientApp, partition: bytes, n_gpus: float) -> None:
        super().__init__(n_gpus=n_gpus)
        self.serve(client_app)
        self._folder = Path(tempfile.mkdtemp(prefix="heartfed-"))
        (self._folder / "partition.csv").write_bytes(partition)

    def machine(self) -> Machine:
        """The machine this is, and what is installed there."""
        node = ray.get_runtime_context().get_node_id()
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        return Machine(node=node, address=address, versions=versions())

    def fetch(self, names: Sequence[str], sender: Any) -> tuple[tuple[str, ...], int]:
        """This machine's own cache folders, and the bytes that were fetched for them."""

        def read(*piece: Any) -> bytes:
            content: bytes = ray.get(sender.read.remote(*piece))
            return content

        root = default_cache_dir()
        fetched = fetch_folders(root, names, read)
        return tuple(str(root / name) for name in names), fetched

    def handle_with_files(
        self,
        messages: Sequence[Message],
        contexts: Sequence[Context],
        arrays: Sequence[ArrayRecord],
        combine: Sequence[Any],
        shards: tuple[str, ...],
        files: Files,
    ) -> Answer:
        """As `handle`, with the sites' files laid out before; also the files that they wrote."""
        lay_out(self._folder / SITES, files)
        for message in messages:
            set_local_folders(message, str(self._folder), shards)
        visits = self.handle(messages, contexts, arrays, combine)
        return visits, changed_files(self._folder / SITES, files)

    def remove_folder(self) -> None:
        """Leave nothing on this machine but the cache."""
        shutil.rmtree(self._folder, ignore_errors=True)


class ClusterWorkers:
    """Workers of one core each, on the machines of the cluster that this process has joined."""

    def __init__(self, client_app: ClientApp, job: Job, n_gpus: float) -> None:
        home = ray.get_runtime_context().get_node_id()
        on_this_machine: Any = NodeAffinitySchedulingStrategy(home, soft=False)
        sender: Any = ray.remote(num_cpus=0, scheduling_strategy=on_this_machine)(CacheSender)
        self._sender = sender.remote(job.shards)
        self._shards = {home: job.shards}  # by machine; of the others once they have a copy
        self._copies: dict[str, Any] = {}  # by machine: the future of its copy, being made
        self._names = [Path(folder).name for folder in job.shards]
        self.machines: dict[Any, Machine] = {}  # of each worker that is up
        partition = (Path(job.workspace) / "partition.csv").read_bytes()
        self._files = SiteFiles.of_run(Path(job.workspace))
        self._given = ray.put(client_app), ray.put(partition), n_gpus
        self._worker: Any = ray.remote(
            num_cpus=1,
            num_gpus=n_gpus,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": KEEP_FREED_MEMORY},
        )(ClusterWorker)

    def create(self) -> Any:
        return self._worker.remote(*self._given)

    def start(self, actor: Any) -> Generator[Any, Any, None]:
        """Check the versions on its machine, and have the recordings copied there if need be.

        Of several workers on a machine the first copies them, and the others wait for that.
        """
        machine: Machine = yield actor.machine.remote()
        for name, ours in versions().items():
            if (installed := machine.versions.get(name)) != ours:
                raise ConfigError(
                    f"{machine.address} has {name} {installed}, here it is {ours}. Install the "
                    "same version there."
                )
        self.machines[actor] = machine
        node = machine.node
        if node in self._shards:
            return
        first = node not in self._copies
        if first:
            self._copies[node] = actor.fetch.remote(self._names, self._sender)
        try:
            self._shards[node], fetched = yield self._copies[node]
        finally:  # where it failed, the next worker on this machine tries again
            self._copies.pop(node, None)
        if first:
            logging.getLogger("heartfed").info(
                "%s (%s) fetched %d bytes", machine.address, node[:8], fetched
            )

    def send(
        self,
        actor: Any,
        messages: Sequence[Message],
        contexts: Sequence[Context],
        arrays: Any,
        combine: Sequence[Any],
    ) -> Any:
        shards = self._shards[self.machines[actor].node]
        files: Files = {}
        for message, context in zip(messages, contexts, strict=True):
            files |= self._files.needed(message, int(str(context.node_config["partition-id"])))
        return actor.handle_with_files.remote(messages, contexts, arrays, combine, shards, files)

    def read(self, answer: Answer) -> Visits:
        """Also puts what the clients wrote into the run directory."""
        visits, files = answer
        self._files.keep(files)
        return visits

    def clean_up(self, actors: Sequence[Any]) -> None:
        if actors:
            removed = [actor.remove_folder.remote() for actor in actors]
            ray.wait(removed, num_returns=len(removed), timeout=CLEAN_UP)
