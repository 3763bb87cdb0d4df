"""The batches of an epoch: single examples, or rows of neighbours for networks that read rows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.data.beat_rows import random_rows
from fl.data.cohort import Cohort, Indices
from fl.models.network_input import NetworkInput

# A row holds examples that the epoch leaves out (three quarters of the ordinary beats): a batch of
# rows has so many times as many examples, so that about as many count in its loss.
ROW_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """Examples of one step, and how much each counts in its loss."""

    examples: Indices  # (batch,)
    weights: NDArray[np.float32] | None  # (batch,) with a mean of one; None: all alike
    counted: int  # examples that count in the loss


def epoch_batches(
    cohort: Cohort,
    order: Indices,
    size: int,
    read: NetworkInput,
    by_patient: bool,
    rng: np.random.Generator,
) -> list[TrainingBatch]:
    """The batches of an epoch that trains on the examples `order`, in this order.

    A network that reads rows is given every row with such an example; the row's other examples are
    read and do not count.
    """
    weights = cohort.loss_weights(order) if by_patient else None
    if read.row > 1:
        counting = np.zeros(len(cohort), dtype=np.float32)
        counting[order] = 1.0 if weights is None else weights
        return list(_row_batches(cohort, counting, size, read.row, rng))
    places = np.array_split(np.arange(len(order)), math.ceil(len(order) / size))
    return [
        TrainingBatch(
            examples=order[p],
            weights=None if weights is None else weights[p],
            counted=len(p),
        )
        for p in places
    ]


def _row_batches(
    cohort: Cohort, counting: NDArray[np.float32], size: int, row: int, rng: np.random.Generator
) -> Iterator[TrainingBatch]:
    rows = random_rows(cohort, row, rng)
    rows = rows[(counting[rows] > 0).any(axis=1)]
    per_batch = max(1, ROW_BATCH * size // row)
    for several in np.array_split(rows, math.ceil(len(rows) / per_batch)):
        examples = several.reshape(-1)
        weights = counting[examples]
        yield TrainingBatch(
            examples=examples,
            weights=(weights / weights.mean()).astype(np.float32),
            counted=int(np.count_nonzero(weights)),
        )
