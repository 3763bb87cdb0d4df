"""A site's update as whole numbers that add: the average over sites is one sum and one division.

Sums of floating-point numbers depend on their order, and a sum that hides its parts (secure
aggregation) needs numbers that wrap around. So each change of a weight, times the records behind
it, becomes a 64-bit integer. Integers add to the same bits in any order.

The scale is a power of two that leaves room for all sites of a round, so it depends on what the
server asked and not on what the sites found: server and site compute the same one. With S sites
the average is off by at most S * 2**-(FREE_BITS - BOUND_BITS) of a weight, times the records of
all sites over the records that train the weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.models import NetworkParts
from fl.training.state_dict import Weights, in_one_row

FREE_BITS = 62  # of 64: one for the sign, and one so that the limits themselves fit
# No change of a weight in a round is as large as two to this power, and none of what a strategy
# sends beside the weights as two to that; `server/rounds/reply_validation.py` refuses what is.
BOUND_BITS = 10
EXTRA_BOUND_BITS = 31

LOSS_SCALE = float(1 << 20)  # a loss is added in parts of this size
LARGEST_LOSS = 2.0**40  # a sum of losses that fits beside those of a million sites

NamedArrays = Mapping[str, NDArray[Any]]
Vector = NDArray[np.int64]


def fixed_loss(loss: float) -> int:
    """A sum of losses as a whole number that adds; `ValueError` for one without room."""
    if not abs(loss) <= LARGEST_LOSS:
        raise ValueError(f"a loss of {loss:g} is NaN or too large for 64-bit sums")
    return round(loss * LOSS_SCALE)


def loss_of(total: int) -> float:
    """The sum of losses that `fixed_loss` turned into whole numbers."""
    return total / LOSS_SCALE


@dataclass(frozen=True, kw_only=True)
class UpdateCounts:
    """By how many records, or patients, an update counts: whole numbers of one unit."""

    records: int
    annotated: tuple[int, ...]  # (class,) those that annotate the class
    recorded: tuple[int, ...]  # (lead,) those that hold the lead

    def columns(self) -> Vector:
        """All counts as one vector: records, then classes, then leads."""
        return np.array([self.records, *self.annotated, *self.recorded], dtype=np.int64)


class FixedPointSums:
    """Turns the updates of one round into vectors of integers, and their sum into the average.

    `start` and `extra` are what the sites were sent: weights, and a strategy's arrays beside them.
    A row of the head counts by the records that annotate its class and a lead's column of
    the first layer by those that hold the lead, in `extra` too where the names agree; all else
    counts by all records, and so does such a row or column where no site can train it. With `parts`
    empty everything does. `most` bounds the sum over the
    round's sites of any count.
    """

    def __init__(
        self,
        start: Weights,
        extra: Weights,
        parts: NetworkParts,
        classes: int,
        leads: int,
        most: int,
    ) -> None:
        if most < 1:
            raise ValueError(f"the sites of a round count {most} records, fewer than 1")
        room = FREE_BITS - int(most).bit_length()
        # By name in a vector, because what crosses a network may come in another order; and as they
        # were given in what comes out, because Flower's FedAvgM takes arrays by their place.
        self._order = list(start), list(extra)
        self._start, self._extra = dict(sorted(start.items())), dict(sorted(extra.items()))
        self._classes, self._columns = classes, 1 + classes + leads
        entries = [*self._start.items(), *self._extra.items()]
        self._before = in_one_row(value for _, value in entries)
        self._column = np.concatenate(
            [np.zeros(0, np.int64), *(_column_of(n, v, parts, classes) for n, v in entries)]
        )
        self._partly = np.flatnonzero(self._column)  # those that some sites alone can train
        bits = np.full(len(self._before), room - BOUND_BITS)
        bits[sum(value.size for value in start.values()) :] = room - EXTRA_BOUND_BITS
        self._scale = np.exp2(bits)
        self._limit = 2.0**room

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return len(self._before) + len(self._partly) + self._columns

    def encode(self, weights: NamedArrays, extra: NamedArrays, counts: UpdateCounts) -> Vector:
        """An update as one vector: its changes times its counts, then the counts themselves.

        Between them stand the changes that some sites alone can train, times all records.

        `ValueError` if a change is too large for the room there is.
        """
        columns = counts.columns()
        if len(columns) != self._columns:
            raise ValueError(f"an update has {len(columns)} counts, not {self._columns}")
        after = in_one_row([*(weights[n] for n in self._start), *(extra[n] for n in self._extra)])
        scaled = (after - self._before) * self._scale
        if not (np.abs(scaled) < self._limit).all():
            raise ValueError("an update holds NaN, or a change too large for 64-bit sums")
        by_evidence = np.rint(scaled * columns[self._column]).astype(np.int64)
        plainly = np.rint(scaled[self._partly] * columns[0]).astype(np.int64)
        return np.concatenate([by_evidence, plainly, columns])

    def decode(self, total: Vector) -> tuple[Weights, Weights, UpdateCounts]:
        """From the sum of updates: the average weights and `extra`, and the sums of the counts.

        An entry that nobody's records train is averaged by all records. Each has its own type.
        """
        size, columns = len(self._before), total[-self._columns :]
        behind, added = columns[self._column], total[:size].copy()
        untrained = behind[self._partly] == 0
        places = self._partly[untrained]
        added[places] = total[size : -self._columns][untrained]
        behind[places] = columns[0]
        change = np.divide(added / self._scale, behind, out=np.zeros(size), where=behind > 0)
        average, place = self._before + change, 0
        found: list[Weights] = []
        for group, order in zip((self._start, self._extra), self._order, strict=True):
            arrays: Weights = {}
            for name, value in group.items():
                part = average[place : place + value.size].reshape(value.shape)
                arrays[name] = (part if value.dtype.kind == "f" else np.rint(part)).astype(
                    value.dtype
                )
                place += value.size
            found.append({name: arrays[name] for name in order})
        n, rest = int(columns[0]), columns[1:].tolist()
        classes, leads = rest[: self._classes], rest[self._classes :]
        counts = UpdateCounts(records=n, annotated=tuple(classes), recorded=tuple(leads))
        return found[0], found[1], counts


def _column_of(name: str, value: NDArray[Any], parts: NetworkParts, classes: int) -> Vector:
    """Which of the counts stands behind each value of an entry."""
    column = np.zeros(value.shape, dtype=np.int64)
    if name in parts.head:
        own = 1 + np.arange(len(value))
        column += own.reshape(-1, *[1] * (value.ndim - 1))
    elif name in parts.lead_columns:
        own = 1 + classes + np.arange(value.shape[1])
        column += own.reshape(-1, *[1] * (value.ndim - 2))
    return column.ravel()
