"""How the server merges: Flower's own strategy objects, and what we add to them.

A new strategy is one line here and one in `clients/local_objectives/__init__.py`.
"""

import math
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
from torch import nn

from fl.config.run_config import RunConfig
from fl.messages.flower_codec import WEIGHTED_BY
from fl.training.state_dict import Weights
from server.aggregation.scaffold import initial_control, merge_control

# The round loop chooses the sites itself (`server/aggregation/selected_nodes.py`), so a strategy
# asks every node it sees, and never waits for more.
ASK_ALL: dict[str, Any] = {
    "fraction_train": 1.0,
    "min_train_nodes": 1,
    "min_available_nodes": 1,
    "weighted_by_key": WEIGHTED_BY,
}


@dataclass(frozen=True)
class ExtraRule:
    """Arrays that a strategy sends beside the weights.

    `initial`: before the first round, from the network. `merge`: after a round, from what was
    sent, the average of what the sites answered, and the share of all sites that answered.
    """

    initial: Callable[[nn.Module], Weights]
    merge: Callable[[Weights, Weights, float], Weights]


@dataclass(frozen=True)
class AggregationRule:
    """The server's half of a strategy.

    `remembers`: Flower's object keeps arrays from round to round. `protects`: from how many sites
    on it keeps what one of them sends from deciding; 0: that is not what it is for. Whether a rule
    builds on the average of the sites' weights is a trait: `fl/config/strategy_traits.py`.
    """

    make: Callable[[RunConfig], Strategy]
    remembers: bool = False
    extra: ExtraRule | None = None
    protects: int = 0


# Flower's share that is cut off at each end: below five sites the whole number of it is 0.
TRIMMED = 0.2

STRATEGIES: dict[str, AggregationRule] = {
    "fedavg": AggregationRule(lambda config: FedAvg(**ASK_ALL)),
    "fedprox": AggregationRule(lambda config: FedProx(proximal_mu=config.mu, **ASK_ALL)),
    "fedavgm": AggregationRule(
        lambda config: FedAvgM(
            server_learning_rate=config.server_lr or 1.0,
            server_momentum=config.server_momentum,
            **ASK_ALL,
        ),
        remembers=True,
    ),
    "fedadagrad": AggregationRule(
        lambda config: FedAdagrad(eta=config.server_lr or 0.01, **ASK_ALL), remembers=True
    ),
    "fedadam": AggregationRule(
        lambda config: FedAdam(eta=config.server_lr or 0.01, **ASK_ALL), remembers=True
    ),
    "fedyogi": AggregationRule(
        lambda config: FedYogi(eta=config.server_lr or 0.01, **ASK_ALL), remembers=True
    ),
    # Yin et al. 2018, arXiv:1803.01498: the median, and the mean without both ends, of each weight.
    "fedmedian": AggregationRule(lambda config: FedMedian(**ASK_ALL), protects=3),
    "fedtrimmedavg": AggregationRule(
        lambda config: FedTrimmedAvg(beta=TRIMMED, **ASK_ALL),
        protects=math.ceil(1 / TRIMMED),
    ),
    "fedbn": AggregationRule(lambda config: FedAvg(**ASK_ALL)),
    "scaffold": AggregationRule(
        lambda config: FedAvg(**ASK_ALL), extra=ExtraRule(initial_control, merge_control)
    ),
    "finetune": AggregationRule(lambda config: FedAvg(**ASK_ALL)),
    "personal": AggregationRule(lambda config: FedAvg(**ASK_ALL)),
    "map-head": AggregationRule(lambda config: FedAvg(**ASK_ALL)),
    # Blanchard et al. 2017: the one update that is nearest to the others; from 2f + 3 sites on.
    "krum": AggregationRule(lambda config: Krum(**ASK_ALL), protects=5),
}
