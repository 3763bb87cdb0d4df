"""Sites whose training and predictions are given: for tests of what a site does around them."""

import numpy as np
import torch

from clients.simulated_sites import Site
from fl.config.run_config import RunConfig
from fl.messages.job import Job
from fl.training.loop import FitResult
from partitions.splits import TEST, TRAIN, VAL


class GivenTraining:
    """Stands for `fit`: adds one to every parameter, and keeps what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, network, cohort, plan, state=None, penalty=None, pull=0.0):
        given = {"cohort": cohort, "plan": plan, "state": state, "penalty": penalty, "pull": pull}
        self.calls.append(given)
        with torch.no_grad():
            for values in network.parameters():
                values += 1
        moments = {"0/step": torch.tensor([float(len(self.calls))])}
        return FitResult(loss_sum=6.5, n_seen=9, steps=3, lr_sum=0.5, state=moments)


def job_of(folder, strategy="fedavg", **settings):
    """A job of three rounds, over no data."""
    given = {"rounds": 3, "model": "resnet1d", "engine": "local", "clients": 2} | settings
    config = RunConfig(strategy=strategy, **given)
    return Job(config=config, strategy=strategy, workspace=str(folder), shards=())


def site_of(folder, cohort, min_count=0, **splits):
    """A site that has the cohort in every split that is not given."""
    given = {TRAIN: cohort, VAL: cohort, TEST: cohort} | splits
    return Site(name="site-1", splits=given, folder=folder / "site-1", min_count=min_count)


def nothing_of(cohort):
    """No example of the cohort."""
    return cohort.take(np.zeros(0, dtype=np.int64))
