"""How the server merges: Flower's own strategy objects, and what we add before they merge."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
    Strategy,
)
from numpy.typing import NDArray

from fl.config import RunConfig
from fl.weights import HEAD, LEAD_ENTRIES, Weights
from fl.wire import WEIGHTED_BY, Trained
from server.shelf import overlaid

# We choose the sites ourselves (see `Chosen`), so a strategy asks every node it sees, and
# never waits for more.
_ALL: dict[str, Any] = {
    "fraction_train": 1.0,
    "min_train_nodes": 1,
    "min_available_nodes": 1,
    "weighted_by_key": WEIGHTED_BY,
}


@dataclass(frozen=True)
class Rule:
    """One way to merge. `averages`: it builds on the average of the sites' weights.

    Rules that compare sites with each other (median, Krum) must see what the sites sent, so
    `by_evidence` is for the others only.
    """

    make: Callable[[RunConfig], Strategy]
    averages: bool = True


STRATEGIES: dict[str, Rule] = {
    "fedavg": Rule(lambda config: FedAvg(**_ALL)),
    "fedprox": Rule(lambda config: FedProx(proximal_mu=config.mu, **_ALL)),
    "fedavgm": Rule(
        lambda config: FedAvgM(
            server_learning_rate=config.server_lr or 1.0,
            server_momentum=config.server_momentum,
            **_ALL,
        )
    ),
    "fedadagrad": Rule(lambda config: FedAdagrad(eta=config.server_lr or 0.01, **_ALL)),
    "fedadam": Rule(lambda config: FedAdam(eta=config.server_lr or 0.01, **_ALL)),
    "fedyogi": Rule(lambda config: FedYogi(eta=config.server_lr or 0.01, **_ALL)),
    "fedmedian": Rule(lambda config: FedMedian(**_ALL), averages=False),
    "fedtrimmedavg": Rule(lambda config: FedTrimmedAvg(**_ALL), averages=False),
    # What these three do more is done at the sites (`clients/`) and around the merging.
    "fedbn": Rule(lambda config: FedAvg(**_ALL)),
    "scaffold": Rule(lambda config: FedAvg(**_ALL)),
    "finetune": Rule(lambda config: FedAvg(**_ALL)),
    "krum": Rule(lambda config: Krum(**_ALL), averages=False),
}

# What Flower's strategies remember from round to round.
_MEMORY = ("m_t", "v_t", "momentum_vector")


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
    if hasattr(strategy, "current_arrays"):
        # FedAvgM keeps its own copy of what it merged, of another type than what is sent; it
        # begins each round from what is sent, as it would after a resumption.
        strategy.current_arrays = None
    as_grid: Grid = grid  # type: ignore[assignment]  # strategies only ask it for node ids
    return strategy.configure_train(round_number, arrays, config, as_grid)


def merged_control(control: Weights, average: Weights, share: float) -> Weights:
    """SCAFFOLD's control variate after a round: c + share * (average of what sites sent - c).

    `share`: how many of all sites took part; the others count as unchanged. Source: Karimireddy
    et al. 2020, arXiv:1910.06378, algorithm 1, line 17. We weigh sites by records, as weights
    are; with equal sites it is the paper's plain mean.
    """
    return {
        name: np.asarray(c + share * (average[name] - c), dtype=np.float32)
        for name, c in control.items()
    }


def memory(strategy: Strategy) -> Weights:
    """What a strategy remembers, as named arrays for a checkpoint."""
    kept: Weights = {}
    for field in _MEMORY:
        value = getattr(strategy, field, None)
        items = value.items() if isinstance(value, dict) else enumerate(value or [])
        kept |= {f"{field}/{key}": np.asarray(array) for key, array in items}
    return kept


def remember(strategy: Strategy, kept: Weights) -> None:
    """Give a new strategy what `memory` kept."""
    for field in _MEMORY:
        start = f"{field}/"
        named = {k.removeprefix(start): v for k, v in kept.items() if k.startswith(start)}
        if not named:
            continue
        as_list = field == "momentum_vector"
        value = [named[str(i)] for i in range(len(named))] if as_list else named
        setattr(strategy, field, value)


def weighed(replies: Sequence[Trained], weighting: str) -> list[Trained]:
    """The replies with the say each site is to have: by records, by their root, or the same.

    By records every recording counts alike, and a large hospital decides; evenly every hospital
    counts alike. Counts are whole numbers, so roots are taken in thousandths.
    """
    if weighting == "records":
        return list(replies)
    given = []
    for reply in replies:
        say = 1000 * (math.sqrt(reply.n_records) if weighting == "root" else 1.0)
        factor = say / reply.n_records
        given.append(
            replace(
                reply,
                n_records=round(say),
                annotated=tuple(round(n * factor) for n in reply.annotated),
                recorded=tuple(round(n * factor) for n in reply.recorded),
            )
        )
    return given


def by_evidence(replies: Sequence[Trained], start: Weights) -> list[Trained]:
    """Let weights that only some sites can train be averaged over those sites alone.

    A row of the head learns only where its class is annotated, and a column of the first
    convolution only where its lead was recorded. Every other site sends them back unchanged,
    and plain averaging by records would let it hold them back: two hospitals with twelve leads
    among many with one would never teach the other eleven. Scaling an entry's change by
    (share of the records that train it) / (share of records) makes the plain average that
    follows the average by those records, whatever rule builds on that average.
    """
    total = sum(r.n_records for r in replies)
    plain = np.array([r.n_records / total for r in replies])
    by_class = _factors([r.annotated for r in replies], plain)  # (site, class)
    by_lead = _factors([r.recorded for r in replies], plain)  # (site, lead)
    scaled = []
    for reply, classes, leads in zip(replies, by_class, by_lead, strict=True):
        changed: Weights = {}
        for name in reply.weights:
            if name in HEAD:
                value = reply.weights[name]
                factor = classes.reshape(-1, *[1] * (value.ndim - 1))
            elif name.endswith(LEAD_ENTRIES):
                value = reply.weights[name]
                factor = leads.reshape(1, -1, *[1] * (value.ndim - 2))
            else:
                continue
            if (factor != 1).any():
                begun = start[name].astype(np.float32)
                changed[name] = begun + factor * (value.astype(np.float32) - begun)
        scaled.append(replace(reply, weights=overlaid(reply.weights, changed)))
    return scaled


def _factors(counts: Sequence[Sequence[int]], plain: NDArray[np.float64]) -> NDArray[np.float32]:
    """(share of the records that train an entry) / (share of records): (site, entry).

    An entry that nobody trains is averaged plainly.
    """
    each = np.array(counts, dtype=np.float64)
    total = each.sum(axis=0)
    share = np.where(total > 0, each / np.maximum(total, 1), plain[:, None])
    return np.asarray(share / plain[:, None], dtype=np.float32)
