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
    rows, answered = [], []
    for examples in _recordings(cohort):
        latest = max(len(examples) - size, 0)
        starts = np.array(sorted({*range(0, latest, max(size // 2, 1)), latest}))
        number = np.arange(len(examples))
        # Distance from the edge of a row whose side matters; the row with the largest is taken.
        before = number - starts[:, None]
        after = starts[:, None] + size - 1 - number
        room = np.where((before < 0) | (after < 0), -1, np.minimum(before, after))
        if not later:
            room = np.where(room < 0, -1, before)
        chosen = room.argmax(axis=0)
        for row, start in enumerate(starts.tolist()):
            place = start + np.arange(size)
            mine = place < len(examples)
            mine[mine] = chosen[place[mine]] == row
            rows.append(_padded(examples[start : start + size], size))
            answered.append(mine)
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
