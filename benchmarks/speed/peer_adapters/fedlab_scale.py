"""The work by FedLab in its scale mode: a server, and processes that train many clients each.

They talk by torch.distributed. The server is FedLab's synchronous one, which averages without
weights; in this work every site has as many records. A client's training is `site_work.py`.
"""

import logging
import subprocess
import sys
from typing import Any

import torch
from fedlab.contrib.algorithm.basic_server import SyncServerHandler
from fedlab.core.client.manager import PassiveClientManager
from fedlab.core.client.trainer import SerialClientTrainer
from fedlab.core.network import DistNetwork
from fedlab.core.server.manager import SynchronousServerManager

from benchmarks.speed.engine_run import Moments
from benchmarks.speed.peer_adapters.site_work import (
    SiteWork,
    free_port,
    read_case,
    write_end,
)
from fl.training.state_dict import get_weights


class Trainer(SerialClientTrainer):
    """The clients of one process."""

    def __init__(self, work: SiteWork, names: list[str]) -> None:
        super().__init__(work.network, len(names), cuda=False)
        work.network = self._model  # FedLab's copy
        self.work, self.names, self.number = work, names, 0
        self.trained: list[list[torch.Tensor]] = []

    @property
    def uplink_package(self) -> list[list[torch.Tensor]]:
        """What is sent to the server: the parameters of each client."""
        package, self.trained = self.trained, []
        return package

    def local_process(self, payload: list[torch.Tensor], id_list: list[int]) -> None:
        """Train these clients, one after the other."""
        self.number += 1
        for place in id_list:
            self.set_model(payload[0])
            self.work.visit(self.names[place], self.number)
            self.trained.append([self.model_parameters])


class TimedHandler(SyncServerHandler):
    """FedLab's averaging server; notes when rounds end."""

    moments: Moments

    def global_update(self, buffer: list[Any]) -> None:
        """Average the clients' parameters."""
        super().global_update(buffer)
        self.moments.round()


class TimedManager(SynchronousServerManager):
    """FedLab's synchronous server process; notes when the first round begins."""

    def main_loop(self) -> None:
        """All rounds."""
        self._handler.moments.training()
        super().main_loop()
        self._handler.moments.finished()


def main(path: str, rank: int = 0, port: int = 0) -> None:
    """Run the server, which starts the client processes, or one of these."""
    logging.disable(logging.INFO)
    job = read_case(path)
    processes = job.config.workers
    if rank == 0:
        port = free_port()
        words = [sys.executable, "-m", "benchmarks.speed.peer_adapters.fedlab_scale", path]
        clients = [
            subprocess.Popen([*words, str(number + 1), str(port)]) for number in range(processes)
        ]
    work = SiteWork(job)
    network = DistNetwork(address=("127.0.0.1", str(port)), world_size=processes + 1, rank=rank)
    if rank > 0:
        own = [
            names.tolist() for names in torch.tensor_split(torch.arange(len(work.names)), processes)
        ]
        trainer = Trainer(work, [work.names[place] for place in own[rank - 1]])
        PassiveClientManager(network, trainer).run()
        return
    handler = TimedHandler(work.network, global_round=job.config.rounds, sample_ratio=1.0)
    handler.moments = Moments()
    TimedManager(network, handler).run()
    write_end(path, job, handler.moments, get_weights(handler.model))
    for process in clients:
        if process.wait():
            raise RuntimeError(f"a client process ended with {process.returncode}")


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
