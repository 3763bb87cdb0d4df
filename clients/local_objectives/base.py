"""What a strategy may add to the plain training of a site."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from clients.personalization.own_model import OwnModel
from clients.simulated_sites import Site
from fl.messages.job import Job
from fl.training.loop import Penalty
from fl.training.state_dict import Weights


@dataclass(frozen=True, kw_only=True)
class RoundStart:
    """What a site has when a round of its training begins."""

    network: nn.Module  # holds `weights`, on the device that trains
    weights: Weights
    mu: float = 0.0  # weight of FedProx's term, which the request names; 0: none
    proximal: str = "decoupled"  # form of that term: a step of its own, or in the loss
    sent: Weights = field(default_factory=dict)  # extra arrays that came with the weights
    kept: Weights = field(default_factory=dict)  # extra arrays of the site's last round, if any
    # Of parameters that the site trains in part: 1 where it does, 0 elsewhere (`evidence.py`).
    trained: Weights = field(default_factory=dict)
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class ExtraUpdate:
    """Extra arrays after a round: what the site keeps for its next one, and what it sends."""

    kept: Weights = field(default_factory=dict)
    sent: Weights = field(default_factory=dict)


def no_penalty(begin: RoundStart) -> Penalty | None:
    """Nothing is added to the loss."""
    return None


def no_pull(begin: RoundStart) -> float:
    """Nothing pulls the weights back to where the round began."""
    return 0.0


def no_extra(begin: RoundStart, end: Weights, lr_sum: float) -> ExtraUpdate:
    """Weights are all that a site keeps and sends."""
    return ExtraUpdate()


def no_step(network: nn.Module, site: Site, job: Job) -> OwnModel:
    """The network is tested as it was sent."""
    return OwnModel(network=network)


@dataclass(frozen=True, kw_only=True)
class LocalObjective:
    """The sites' half of a strategy; without a field it is plain training.

    `penalty`: the term that is added to the loss of every batch. `pull`: how strongly each step
    pulls the weights back to those the round began with, beside the gradient. `extra`: extra
    arrays after a round, from its start, the trained weights and the sum of the learning rates of
    its steps. `before_test`: what a site does with the network before it tests it, and what it
    tests then.

    Traits that the server or the settings need too (gradient steps without momentum, entries
    that stay at the site) stand in `fl/config/strategy_traits.py`.
    """

    penalty: Callable[[RoundStart], Penalty | None] = no_penalty
    pull: Callable[[RoundStart], float] = no_pull
    extra: Callable[[RoundStart, Weights, float], ExtraUpdate] = no_extra
    before_test: Callable[[nn.Module, Site, Job], OwnModel] = no_step
