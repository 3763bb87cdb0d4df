"""FedProx at a site: it is pulled back to the weights that were sent.

Source: Li et al. 2020, arXiv:1812.06127: the term mu/2 * ||w - w_global||^2 of the loss. With
plain SGD a step on it moves w by lr * mu * (w_global - w). AdamW divides every gradient by a
running mean of its size, and the gradient is clipped before: as a part of the loss the term then
has a strength that is no longer mu. There are two forms (`--proximal`):

- `decoupled` (default): that step itself, beside the optimizer's, as AdamW does with weight decay
  (Loshchilov & Hutter 2019, arXiv:1711.05101). Under plain SGD it is the same as the paper's.
- `loss`: the term in the loss, whatever the optimizer makes of it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from clients.local_objectives.base import RoundStart
from fl.training.frozen import trained_parameters
from fl.training.loop import Penalty


def proximal_penalty(local: Sequence[Tensor], anchor: Sequence[Tensor], mu: float) -> Tensor:
    """FedProx's term mu/2 * sum ||w - w_global||^2, squared as in the paper.

    Both are sequences, not generators: the term is needed again for every batch.
    """
    distance = torch.stack([(w - g).pow(2).sum() for w, g in zip(local, anchor, strict=True)])
    return mu / 2 * distance.sum()


def fedprox_penalty(begin: RoundStart) -> Penalty | None:
    """The term of the loss for one round, around the weights that the round begins with."""
    if begin.mu == 0 or begin.proximal != "loss":
        return None
    anchor = [w.detach().clone() for w in trained_parameters(begin.network).values()]
    return lambda network: proximal_penalty(
        list(trained_parameters(network).values()), anchor, begin.mu
    )


def fedprox_pull(begin: RoundStart) -> float:
    """The strength of the decoupled form, whose steps the optimizer takes."""
    return begin.mu if begin.proximal == "decoupled" else 0.0
