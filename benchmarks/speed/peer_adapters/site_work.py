"""What a site does in a round, the same in every framework: validate the weights, then train them.

This is HeartFed's own training step, on HeartFed's own records: the frameworks differ in how they
start, how weights reach the sites and how they are averaged.
"""

import json
import socket
import time
from pathlib import Path

from benchmarks.speed.engine_run import Moments, count_steps
from benchmarks.speed.peer_adapters.workload import LAST
from clients.simulated_sites import sites_of
from clients.training_plan import training_plan
from fl.messages.job import Job
from fl.training.device import one_thread
from fl.training.frozen import network_to_train
from fl.training.loop import fit, predict
from fl.training.losses import mean_loss
from fl.training.state_dict import Weights, fresh_weights, save_weights, set_weights
from partitions.splits import TRAIN, VAL


class SiteWork:
    """A process's sites and its one network, with the weights that training begins with."""

    def __init__(self, job: Job) -> None:
        one_thread()
        config = job.config
        self.job = job
        self.network = network_to_train(config.model, config.task, config.freeze)
        set_weights(self.network, fresh_weights(config))
        self.sites = sites_of(job)
        self.names = sorted(self.sites)

    def records(self, name: str) -> int:
        """How many records a site trains on."""
        return len(self.sites[name].splits[TRAIN])

    def visit(self, name: str, number: int) -> float:
        """Validate the network's weights on a site's records, then train them there in place.

        Returns the validation's mean loss. The steps are counted in a file.
        """
        began = time.time()
        splits, network = self.sites[name].splits, self.network
        val = splits[VAL]
        loss = mean_loss(val.task, val.labels, predict(network, val))
        fitted = fit(network, splits[TRAIN], training_plan(self.job.config, name, number))
        count_steps(self.job, name, fitted.steps, number, began)
        return loss


def read_case(path: str) -> Job:
    """The job of the case that the benchmark wrote."""
    return Job.model_validate(json.loads(Path(path).read_text())["job"])


def write_end(path: str, job: Job, moments: Moments, weights: Weights) -> None:
    """Write what the benchmark reads at the end: the moments and the last weights."""
    Path(path).with_suffix(".moments").write_text(json.dumps(vars(moments)))
    save_weights(Path(job.workspace) / LAST, weights)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
