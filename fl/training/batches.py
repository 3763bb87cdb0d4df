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
    weights: NDArray[np.float32] | None  # (batch,); None: all alike
    counted: int  # examples that count in the loss; one drawn twice counts twice


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
    read and do not count. Weights have a mean of one over the examples that count: over those of
    each batch, or, where every patient counts alike (`by_patient`), over those of the epoch.
    """
    weights = cohort.loss_weights(order) if by_patient else None
    if read.row > 1:
        return list(_row_batches(cohort, order, weights, size, read.row, rng))
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
    cohort: Cohort,
    order: Indices,
    weights: NDArray[np.float32] | None,
    size: int,
    row: int,
    rng: np.random.Generator,
) -> Iterator[TrainingBatch]:
    rows = random_rows(cohort, row, rng)
    # Rows overlap where a recording ends, and a short one repeats its last example: that example
    # counts at one of its places alone.
    once = np.zeros(rows.shape, dtype=bool)
    once.flat[np.unique(rows, return_index=True)[1]] = True
    # An epoch that draws with replacement takes an example several times.
    drawn = np.bincount(order, minlength=len(cohort))[rows] * once
    shares = np.bincount(order, weights, minlength=len(cohort))[rows] * once
    used = np.flatnonzero(drawn.any(axis=1))
    per_batch = max(1, ROW_BATCH * size // row)
    for several in np.array_split(used, math.ceil(len(used) / per_batch)):
        counted = int(drawn[several].sum())
        # The loss is a mean over the whole batch, of which only the counted examples count.
        scaled = shares[several] * (len(several) * row / counted)
        yield TrainingBatch(
            examples=rows[several].reshape(-1),
            weights=scaled.reshape(-1).astype(np.float32),
            counted=counted,
        )
