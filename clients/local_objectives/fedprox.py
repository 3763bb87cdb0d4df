"""FedProx at a site: a term of the loss that pulls towards the weights that were sent."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clients.local_objectives.base import RoundStart
from fl.training.loop import Penalty


def proximal_penalty(local: Sequence[Tensor], anchor: Sequence[Tensor], mu: float) -> Tensor:
    """FedProx's term mu/2 * sum ||w - w_global||^2, squared as in the paper.

    Source: Li et al. 2020, arXiv:1812.06127. Both are sequences, not generators: the term is
    needed again for every batch.
    """
    distance = torch.stack([(w - g).pow(2).sum() for w, g in zip(local, anchor, strict=True)])
    return mu / 2 * distance.sum()


def fedprox_penalty(begin: RoundStart) -> Penalty | None:
    """The term for one round, around the weights that the round begins with."""
    if begin.mu == 0:
        return None
    anchor = [w.detach().clone() for w in begin.network.parameters()]
    return lambda network: proximal_penalty(list(network.parameters()), anchor, begin.mu)
