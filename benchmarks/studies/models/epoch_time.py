"""How much processor time a pass over a run's pooled training examples takes."""

import time

import numpy as np
import torch

from benchmarks.studies.models.random_split import plan_of
from fl.data.cohort import Cohort
from fl.models import build_network
from fl.training.loop import fit
from fl.util.random_streams import stream

TIMED = 256  # examples in a turn
TURNS = 2  # the fastest counts


def seconds_per_example(cohort: Cohort, model: str, seed: int) -> float:
    """Seconds of processor time of training for each example that a pass takes, on one thread."""
    chosen = stream(seed, "epoch time").permutation(len(cohort))[:TIMED]
    some = cohort.take(np.sort(chosen))
    torch.manual_seed(seed)
    network = build_network(model, cohort.task)
    turns = []
    for _ in range(TURNS):
        began = time.process_time()
        result = fit(network, some, plan_of(cohort, seed, 1))
        turns.append((time.process_time() - began) / result.n_seen)
    return min(turns)
