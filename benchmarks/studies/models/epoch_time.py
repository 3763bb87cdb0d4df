"""How much processor time a pass over a run's pooled training examples takes."""

import time

import numpy as np
import torch

from benchmarks.studies.models.random_split import plan_of
from fl.data.cohort import Cohort, Indices
from fl.models import build_network
from fl.training.loop import fit
from fl.util.random_streams import stream

TIMED = 256  # examples in a turn
NEIGHBOURS = 64  # of these, at most, in one recording
TURNS = 2  # the fastest counts


def timed_examples(cohort: Cohort, seed: int) -> Indices:
    """TIMED examples, neighbours where a recording has several; recordings come in a drawn order.

    Networks that read rows of neighbouring heartbeats would read whole rows for single ones.
    """
    recordings = cohort.column("recordings")
    names = stream(seed, "epoch time").permutation(np.unique(recordings))
    taken: list[int] = []
    for name in names:
        taken += np.flatnonzero(recordings == name)[:NEIGHBOURS].tolist()
        if len(taken) >= TIMED:
            break
    return np.sort(np.array(taken[:TIMED], dtype=np.int64))


def seconds_per_example(cohort: Cohort, model: str, seed: int) -> float:
    """Seconds of processor time of training for each example that a pass takes, on one thread."""
    some = cohort.take(timed_examples(cohort, seed))
    torch.manual_seed(seed)
    network = build_network(model, cohort.task)
    turns = []
    for _ in range(TURNS):
        began = time.process_time()
        result = fit(network, some, plan_of(cohort, seed, 1))
        turns.append((time.process_time() - began) / result.n_seen)
    return min(turns)
