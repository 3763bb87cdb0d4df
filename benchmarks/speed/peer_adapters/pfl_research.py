"""The work by pfl-research: its simulated backend and its federated averaging.

Two processes form a group of torch.distributed, as its documentation starts them, without the
launcher between. Each trains half of the users and adds them up; the sums are added by an
all-reduce, and both processes apply them. A user's training is `site_work.py`.
"""

import os
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks.speed.engine_run import Moments
from benchmarks.speed.peer_adapters.site_work import (
    SiteWork,
    free_port,
    read_case,
    write_end,
)
from fl.training.state_dict import get_weights

ADDRESSES, RANK = "PFL_WORKER_ADDRESSES", "PFL_WORKER_RANK"


def start_others(path: str, processes: int) -> list[subprocess.Popen[bytes]]:
    """This process becomes the first of the group; the others are started."""
    addresses = ",".join(f"127.0.0.1:{free_port()}" for _ in range(processes))
    os.environ |= {ADDRESSES: addresses, RANK: "0"}
    words = [sys.executable, "-m", "benchmarks.speed.peer_adapters.pfl_research", path]
    return [
        subprocess.Popen(words, env=os.environ | {RANK: str(rank)}) for rank in range(1, processes)
    ]


def run(work: SiteWork, moments: Moments) -> Any:
    """All rounds; returns the network. Every process of the group does the same."""
    # pfl joins the group while it is imported, so it is imported once the group is known.
    import torch
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.aggregate.weighting import WeightByDatapoints
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.callback.base import TrainingProcessCallback
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import MinimizeReuseUserSampler
    from pfl.hyperparam import NNTrainHyperParams
    from pfl.metrics import Metrics
    from pfl.model.pytorch import PyTorchModel

    class Averaging(FederatedAveraging):
        """Federated averaging of users that do the work of a site."""

        def simulate_one_user(self, model: Any, user_dataset: Any, central_context: Any) -> Any:
            """Train a user; returns the difference of the weights."""
            self._initial_model_state = model.get_parameters(self._initial_model_state)
            work.visit(user_dataset.user_id, central_context.current_central_iteration + 1)
            difference = model.get_model_difference(self._initial_model_state)
            model.set_parameters(self._initial_model_state)
            return difference, Metrics()

    class Watch(TrainingProcessCallback):
        """Notes when rounds begin and end."""

        def on_train_begin(self, *, model: Any) -> Any:
            """The first round begins."""
            moments.training()
            return Metrics()

        def after_central_iteration(
            self, aggregate_metrics: Any, model: Any, *, central_iteration: int
        ) -> Any:
            """A round is over."""
            moments.round()
            return False, Metrics()

    def user(name: str) -> Dataset:
        return Dataset(raw_data=(np.zeros(work.records(name)),), user_id=name)

    network, config = work.network, work.job.config
    network.loss = network.metrics = None  # pfl asks for them; a site's work does without
    model = PyTorchModel(network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=1.0))
    users = FederatedDataset(user, MinimizeReuseUserSampler(work.names))
    Averaging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=config.rounds,
            evaluation_frequency=1,
            train_cohort_size=len(work.names),
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(users, users, postprocessors=[WeightByDatapoints()]),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=config.local_epochs,
            local_learning_rate=config.lr,
            local_batch_size=config.batch_size,
        ),
        callbacks=[Watch()],
        send_metrics_to_platform=False,
    )
    moments.finished()
    return network


def main(path: str) -> None:
    """Run all rounds in a group of processes."""
    job, moments = read_case(path), Moments()
    first = RANK not in os.environ
    others = start_others(path, job.config.workers) if first else []
    network = run(SiteWork(job), moments)
    if first:
        write_end(path, job, moments, get_weights(network))
    for process in others:
        if process.wait():
            raise RuntimeError(f"a process of the group ended with {process.returncode}")


if __name__ == "__main__":
    main(sys.argv[1])
