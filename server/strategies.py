"""How the server merges: Flower's own strategy objects, and what we add before they merge."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, FedProx, Strategy

from fl.config import RunConfig
from fl.weights import HEAD, Weights
from fl.wire import WEIGHTED_BY, Trained

# We choose the sites ourselves (see `Chosen`), so a strategy asks every node it sees, and
# never waits for more.
_ALL: dict[str, Any] = {
    "fraction_train": 1.0,
    "min_train_nodes": 1,
    "min_available_nodes": 1,
    "weighted_by_key": WEIGHTED_BY,
}

STRATEGIES: dict[str, Callable[[RunConfig], Strategy]] = {
    "fedavg": lambda config: FedAvg(**_ALL),
    "fedprox": lambda config: FedProx(proximal_mu=config.mu, **_ALL),
}


class Chosen:
    """A grid that shows only the nodes chosen for this round.

    Flower draws nodes with the global `random`, by ids that change from run to run; we draw
    sites by name from our own stream and let the strategy take all it sees.
    """

    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = list(nodes)

    def get_node_ids(self) -> list[int]:
        return self._nodes


def configure(
    strategy: Strategy, round_number: int, arrays: ArrayRecord, config: ConfigRecord, grid: Chosen
) -> Iterable[Message]:
    """The round's training requests, by Flower's strategy."""
    as_grid: Grid = grid  # type: ignore[assignment]  # strategies only ask it for node ids
    return strategy.configure_train(round_number, arrays, config, as_grid)


def by_annotation(replies: Sequence[Trained], start: Weights) -> list[Trained]:
    """Let each class's row of the head be averaged by the records that annotate the class.

    A site that never annotates a class sends that row back untrained, and plain averaging by
    records would let it hold the row back. Scaling the row's change by
    (share of annotated records) / (share of records) makes the plain average that follows the
    one by annotated records, whatever rule builds on that average.
    """
    total = sum(r.n_records for r in replies)
    annotated = np.array([r.annotated for r in replies], dtype=np.float64)  # (site, class)
    per_class = annotated.sum(axis=0)
    scaled = []
    for reply, counts in zip(replies, annotated, strict=True):
        share = np.divide(counts, per_class, out=np.zeros_like(counts), where=per_class > 0)
        factor = share / (reply.n_records / total)
        if (factor == 1).all():
            scaled.append(reply)
            continue
        weights = dict(reply.weights)
        for name in HEAD:
            rows = factor.reshape(-1, *[1] * (weights[name].ndim - 1)).astype(np.float32)
            begun = start[name].astype(np.float32)
            weights[name] = begun + rows * (weights[name].astype(np.float32) - begun)
        scaled.append(replace(reply, weights=weights))
    return scaled
