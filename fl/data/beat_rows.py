"""Rows of neighbouring examples of one recording, for networks that read them together."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort, Indices

Rows = NDArray[np.int64]  # (row, place) indices of examples


def random_rows(cohort: Cohort, size: int, rng: np.random.Generator) -> Rows:
    """Rows that hold every example at least once, in random order, cut at random places.

    A recording with fewer examples than `size` is one row, whose last example is repeated. The
    first and the last row of a recording may share examples with their neighbours.
    """
    rows = []
    for examples in _recordings(cohort):
        latest = len(examples) - size
        if latest <= 0:
            rows.append(_padded(examples, size))
            continue
        first = int(rng.integers(0, size))
        starts = {min(start, latest) for start in range(first, len(examples), size)} | {0}
        rows += [examples[start : start + size] for start in sorted(starts)]
    if not rows:
        return np.zeros((0, size), dtype=np.int64)
    return np.stack(rows)[rng.permutation(len(rows))]


def covering_rows(cohort: Cohort, size: int, later: bool) -> tuple[Rows, NDArray[np.bool_]]:
    """Overlapping rows for prediction, and the places at which each example is answered: once.

    An example is answered where it has as many neighbours on both sides as possible; without
    `later`, where as many as possible come before it.
    """
    in_row = np.arange(size)
    neighbours = np.minimum(in_row, size - 1 - in_row) if later else in_row
    rows: list[Indices] = []
    answered: list[NDArray[np.bool_]] = []
    for examples in _recordings(cohort):
        latest = max(len(examples) - size, 0)
        starts = np.array(sorted({*range(0, latest, max(size // 2, 1)), latest}))
        number = (starts[:, None] + in_row).reshape(-1)  # of an example in its recording
        # The place with the most neighbours first; of equal ones, that in the earlier row.
        best_first = np.lexsort((np.tile(-neighbours, len(starts)), number))
        best = best_first[np.unique(number[best_first], return_index=True)[1]]
        is_best = np.zeros(len(number), dtype=bool)
        is_best[best] = True
        answered.extend((is_best & (number < len(examples))).reshape(-1, size))
        rows.extend(_padded(examples[start : start + size], size) for start in starts)
    if not rows:
        return np.zeros((0, size), dtype=np.int64), np.zeros((0, size), dtype=bool)
    return np.stack(rows), np.stack(answered)


def _recordings(cohort: Cohort) -> Iterator[Indices]:
    """The examples of each recording in order of time: that of the rows of its shard."""
    if not len(cohort):
        return
    numbers = cohort.recording_numbers
    order = np.lexsort((cohort.row, cohort.shard, numbers))
    yield from np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def _padded(examples: Indices, size: int) -> Indices:
    """The examples, the last one repeated until there are `size`."""
    return examples[np.minimum(np.arange(size), len(examples) - 1)]
