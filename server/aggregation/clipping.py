"""No site's update may be many times as long as the others'.

An update that is a thousand times too long makes a model of its own of the average. Its norm is
compared with the median over the round's sites, which a minority of sites cannot move. Source:
norm clipping as a defence, Sun et al. 2019, arXiv:1911.07963. Two things differ: there the bound is
a constant, here it follows the round; and there an update above it is scaled to the bound, here to
the median, because ten times a usual update in each round still moved the model far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fl.messages.payloads import TrainingReply
from fl.training.state_dict import Weights, in_one_row

# Of two sites neither is the odd one; of three, two agree.
FEWEST_SITES = 3
Norms = tuple[float, float]  # of the change of the weights, and of that of a strategy's arrays


@dataclass(frozen=True)
class Clipped:
    """The updates as they may count, and of each that was shortened how long it was."""

    updates: list[TrainingReply]
    notes: dict[str, str]  # by site


def clip_updates(
    trained: Sequence[TrainingReply],
    start: Weights,
    extra: Weights,
    multiple: float,
    others: Sequence[Norms] = (),
) -> Clipped:
    """Scale updates to the median norm over the sites if theirs is more than `multiple` times that.

    `start` and `extra` are what was sent: weights, and a strategy's arrays beside them, whose
    changes are measured and scaled by themselves. `others` are the norms of further updates of the
    round, none of which is too long. If no norm is above the bound, the very same
    objects are returned, so that the bits of an honest run do not change. Nothing is done with
    fewer than `FEWEST_SITES` sites, with a multiple of 0, or where the median is 0.
    """
    sites = len(trained) + len(others)
    if multiple == 0 or sites < FEWEST_SITES or not trained:
        return Clipped(list(trained), {})
    updates, notes = list(trained), {}
    norms = np.array([*(update_norms(one, start, extra) for one in trained), *others])
    medians = np.median(norms, axis=0)
    above = too_long(norms, multiple)[: len(trained)]
    for column, (field, before) in enumerate((("weights", start), ("extra", extra))):
        for place in np.flatnonzero(above[:, column]).tolist():
            site, ratio = trained[place].site, float(norms[place, column] / medians[column])
            arrays = getattr(trained[place], field)
            scaled: dict[str, Any] = {field: _scaled(arrays, before, 1 / ratio)}
            updates[place] = replace(updates[place], **scaled)
            what = "update" if field == "weights" else "update of the strategy's arrays"
            notes[site] = (
                f"its {what} is {ratio:.4g} times as long as the median of {sites} sites, "
                f"more than {multiple:g}, and is clipped to that length (--clip-updates)"
            )
    return Clipped(updates, notes)


def too_long(norms: ArrayLike, multiple: float) -> NDArray[np.bool_]:
    """Which norms are more than `multiple` times the median: (site, 2) -> (site, 2).

    None is with fewer than `FEWEST_SITES` sites, with a multiple of 0, or where the median is 0.
    """
    lengths = np.asarray(norms, dtype=np.float64).reshape(-1, 2)
    if multiple == 0 or len(lengths) < FEWEST_SITES:
        return np.zeros(lengths.shape, dtype=bool)
    medians = np.median(lengths, axis=0)
    return np.asarray((lengths > multiple * medians) & (medians > 0))


def any_too_long(norms: Sequence[Norms], multiple: float) -> list[bool]:
    """Of each site whether `too_long` finds one of its norms."""
    return [any(found) for found in too_long(norms, multiple).tolist()]


def update_norms(update: TrainingReply, start: Weights, extra: Weights) -> Norms:
    """The norms of an update's weights and of the strategy's arrays beside them."""
    return update_norm(update.weights, start), update_norm(update.extra, extra)


def update_norm(arrays: Mapping[str, NDArray[Any]], start: Weights) -> float:
    """The Euclidean norm of the change of all arrays together; counters are no part of it."""
    floats = [name for name, before in start.items() if before.dtype.kind == "f"]
    change = in_one_row(arrays[name] for name in floats)
    change -= in_one_row(start[name] for name in floats)
    total, place = 0.0, 0
    for name in floats:
        part = change[place : place + start[name].size]
        total += float(part @ part)
        place += len(part)
    return float(np.sqrt(total))


def _scaled(arrays: Mapping[str, NDArray[Any]], start: Weights, factor: float) -> Weights:
    """The arrays with their change times `factor`, each in its own type."""
    return {
        name: (before + factor * np.subtract(arrays[name], before, dtype=np.float64)).astype(
            before.dtype
        )
        for name, before in start.items()
    }
