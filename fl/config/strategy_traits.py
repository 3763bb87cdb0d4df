"""What the settings, the server and the sites must agree on about a strategy.

Everything else about a strategy stands in one of its two halves: what the server does in
`server/aggregation/strategies.py`, what a site does in `clients/local_objectives/`.
"""

from dataclasses import dataclass

POOLED_PERSONAL = "pooled-personal"


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
    # The training of a comparison that does the same at each site after pooled training.
    after_pooled: str = ""

    # The server compares the sites' updates with each other and must see each: no sum will do.
    needs_each_update: bool = False

    @property
    def own_models(self) -> bool:
        """Whether sites may test models of their own, made after the last round."""
        return bool(self.trains_as)


STRATEGY_TRAITS: dict[str, StrategyTraits] = {
    "fedbn": StrategyTraits(local_normalisation=True),
    "fedmedian": StrategyTraits(needs_each_update=True),
    "fedtrimmedavg": StrategyTraits(needs_each_update=True),
    "krum": StrategyTraits(needs_each_update=True),
    "finetune": StrategyTraits(trains_as="fedavg"),
    "personal": StrategyTraits(trains_as="fedavg", after_pooled=POOLED_PERSONAL),
    "map-head": StrategyTraits(trains_as="fedavg"),
    # SCAFFOLD's rule knows how far a site has moved from its learning rates alone.
    "scaffold": StrategyTraits(plain_sgd=True),
}


def strategy_traits(strategy: str) -> StrategyTraits:
    """The traits of a strategy; of one that is not in the table, none."""
    return STRATEGY_TRAITS.get(strategy, StrategyTraits())


def trains_as(strategy: str) -> str:
    """The strategy whose federated training this strategy's is: most often itself."""
    return strategy_traits(strategy).trains_as or strategy
