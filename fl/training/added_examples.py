"""A site's training examples with those that a remedy for rare classes adds to them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.data.shards import Shard
from fl.ecg.tasks import TASKS
from fl.ecg.wavelet import check_wavelets
from fl.models import row_length
from fl.training.interpolated_beats import check_smote, interpolated_beats
from fl.training.simulated_recordings import check_simulated, simulated_recordings


def check_remedies(config: RunConfig) -> None:
    """`ConfigError` if a remedy does not fit the task or the network, or is not installed."""
    task = TASKS[config.task]
    if config.imbalance == "smote":
        check_smote(task, row_length(config.model, task))
    check_simulated(config.simulated_rare, task)
    if task.filter == "wavelet":
        check_wavelets()


def with_added_examples(
    cohort: Cohort, *, seed: int, site: str, imbalance: str, simulated: int
) -> Cohort:
    """The site's own training examples first, then interpolated beats and simulated recordings.

    The cohort itself where nothing is added. `simulated` is the number of simulated recordings.
    """
    shards: list[Shard] = []
    if imbalance == "smote":
        shards += interpolated_beats(cohort, seed, site)
    if simulated:
        shards += simulated_recordings(cohort, simulated, seed, site)
    return _extended(cohort, shards) if shards else cohort


def _extended(cohort: Cohort, shards: Sequence[Shard]) -> Cohort:
    """The cohort with all examples of more shards after its own; no recorder acts on these.

    Interpolated beats lie between beats as the site's recorder delivered them, and simulated
    recordings are as the simulator makes them. These examples are in no cache folder, so that for
    training on a GPU all batches are made on the host.
    """
    counts = [len(shard.names) for shard in shards]
    first = len(cohort.shards)
    extended = replace(
        cohort,
        shards=(*cohort.shards, *shards),
        shard=np.concatenate([cohort.shard, np.repeat(np.arange(len(shards)) + first, counts)]),
        row=np.concatenate([cohort.row, *(np.arange(n) for n in counts)]),
    )
    if not cohort.has_recorders:
        return replace(extended, recorder=None, recorders=(), part=None)
    recorders, part = cohort.recorders, cohort.part
    if part is None:
        recorders, part = (cohort.recorder,), np.zeros(len(cohort), dtype=np.int64)
    added = np.full(sum(counts), len(recorders))
    return replace(
        extended,
        recorder=None,
        recorders=(*recorders, None),
        part=np.concatenate([part, added]),
    )
