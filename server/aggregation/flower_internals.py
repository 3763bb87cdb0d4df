"""Flower's strategy objects driven by our own round loop: node choice, memory between rounds."""

from collections.abc import Iterable, Sequence

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    Strategy,
)

from fl.training.state_dict import Weights

# What Flower's strategies remember from round to round.
_MEMORY = ("m_t", "v_t", "momentum_vector")


class SelectedNodes:
    """A grid that shows only the nodes chosen for this round.

    Flower draws nodes with the global `random`, by ids that change from run to run; we draw
    sites by name from our own stream and let the strategy take all it sees.
    """

    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = list(nodes)

    def get_node_ids(self) -> list[int]:
        return self._nodes


def configure(
    strategy: Strategy,
    round_number: int,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: SelectedNodes,
) -> Iterable[Message]:
    """The round's training requests, by Flower's strategy."""
    if hasattr(strategy, "current_arrays"):
        # FedAvgM keeps its own copy of what it merged, of another type than what is sent; it
        # begins each round from what is sent, as it would after a resumption.
        strategy.current_arrays = None
    as_grid: Grid = grid  # type: ignore[assignment]  # strategies only ask it for node ids
    return strategy.configure_train(round_number, arrays, config, as_grid)


def strategy_memory(strategy: Strategy) -> Weights:
    """What a strategy remembers, as named arrays for a checkpoint."""
    kept: Weights = {}
    for field in _MEMORY:
        value = getattr(strategy, field, None)
        items = value.items() if isinstance(value, dict) else enumerate(value or [])
        kept |= {f"{field}/{key}": np.asarray(array) for key, array in items}
    return kept


def restore_memory(strategy: Strategy, kept: Weights) -> None:
    """Give a new strategy what `strategy_memory` kept."""
    for field in _MEMORY:
        start = f"{field}/"
        named = {k.removeprefix(start): v for k, v in kept.items() if k.startswith(start)}
        if not named:
            continue
        as_list = field == "momentum_vector"
        value = [named[str(i)] for i in range(len(named))] if as_list else named
        setattr(strategy, field, value)
