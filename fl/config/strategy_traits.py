"""What the settings, the server and the sites must agree on about a strategy.

Everything else about a strategy stands in one of its two halves: what the server does in
`server/aggregation/strategies.py`, what a site does in `clients/local_objectives/`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StrategyTraits:
    """Facts about a strategy that both sides act on. Most strategies have none of them."""

    plain_sgd: bool = False  # sites take gradient steps without momentum, whatever --optimizer is
    # Scale and shift of the normalisation layers stay at each site and are not merged. The
    # server's own copy of them stays as it was before the first round.
    local_normalisation: bool = False
    # The strategy whose federated training this one's is, bit for bit: only what sites do after
    # the last round differs. In a comparison it is run once for all that name the same.
    trains_as: str = ""


STRATEGY_TRAITS: dict[str, StrategyTraits] = {
    "fedbn": StrategyTraits(local_normalisation=True),
    "finetune": StrategyTraits(trains_as="fedavg"),
    # SCAFFOLD's rule knows how far a site has moved from its learning rates alone.
    "scaffold": StrategyTraits(plain_sgd=True),
}


def strategy_traits(strategy: str) -> StrategyTraits:
    """The traits of a strategy; of one that is not in the table, none."""
    return STRATEGY_TRAITS.get(strategy, StrategyTraits())


def trains_as(strategy: str) -> str:
    """The strategy whose federated training this strategy's is: most often itself."""
    return strategy_traits(strategy).trains_as or strategy
