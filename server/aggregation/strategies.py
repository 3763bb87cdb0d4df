"""How the server merges: Flower's own strategy objects, and what we add before they merge."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

from fl.config.run_config import RunConfig
from fl.messages.flower_codec import WEIGHTED_BY

# We choose the sites ourselves (see `Chosen`), so a strategy asks every node it sees, and
# never waits for more.
_ALL: dict[str, Any] = {
    "fraction_train": 1.0,
    "min_train_nodes": 1,
    "min_available_nodes": 1,
    "weighted_by_key": WEIGHTED_BY,
}


@dataclass(frozen=True)
class AggregationRule:
    """One way to merge. `averages`: it builds on the average of the sites' weights.

    Rules that compare sites with each other (median, Krum) must see what the sites sent, so
    `by_evidence` is for the others only.
    """

    make: Callable[[RunConfig], Strategy]
    averages: bool = True


STRATEGIES: dict[str, AggregationRule] = {
    "fedavg": AggregationRule(lambda config: FedAvg(**_ALL)),
    "fedprox": AggregationRule(lambda config: FedProx(proximal_mu=config.mu, **_ALL)),
    "fedavgm": AggregationRule(
        lambda config: FedAvgM(
            server_learning_rate=config.server_lr or 1.0,
            server_momentum=config.server_momentum,
            **_ALL,
        )
    ),
    "fedadagrad": AggregationRule(lambda config: FedAdagrad(eta=config.server_lr or 0.01, **_ALL)),
    "fedadam": AggregationRule(lambda config: FedAdam(eta=config.server_lr or 0.01, **_ALL)),
    "fedyogi": AggregationRule(lambda config: FedYogi(eta=config.server_lr or 0.01, **_ALL)),
    "fedmedian": AggregationRule(lambda config: FedMedian(**_ALL), averages=False),
    "fedtrimmedavg": AggregationRule(lambda config: FedTrimmedAvg(**_ALL), averages=False),
    # What these three do more is done at the sites (`clients/`) and around the merging.
    "fedbn": AggregationRule(lambda config: FedAvg(**_ALL)),
    "scaffold": AggregationRule(lambda config: FedAvg(**_ALL)),
    "finetune": AggregationRule(lambda config: FedAvg(**_ALL)),
    "krum": AggregationRule(lambda config: Krum(**_ALL), averages=False),
}
