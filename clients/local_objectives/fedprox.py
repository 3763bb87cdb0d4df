"""What a client does for its strategy beside training: plain functions of weights."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fl.training.loop import Penalty
from fl.training.state_dict import Weights


def proximal_penalty(local: Sequence[Tensor], anchor: Sequence[Tensor], mu: float) -> Tensor:
    """FedProx's term mu/2 * sum ||w - w_global||^2, squared as in the paper.

    Source: Li et al. 2020, arXiv:1812.06127. Both are sequences, not generators: the term is
    needed again for every batch.
    """
    distance = torch.stack([(w - g).pow(2).sum() for w, g in zip(local, anchor, strict=True)])
    return mu / 2 * distance.sum()


def control_penalty(local: Sequence[Tensor], drift: Sequence[Tensor]) -> Tensor:
    """SCAFFOLD's correction as a term of the loss: its gradient is `drift` = c - c_site.

    Source: Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1, line 10.
    """
    return torch.stack([(w * d).sum() for w, d in zip(local, drift, strict=True)]).sum()


def next_control(
    own: Mapping[str, np.ndarray], control: Weights, start: Weights, end: Weights, lr_sum: float
) -> Weights:
    """A site's control variate after a visit: c_site - c + (w_start - w_end) / (sum of lr).

    Option II of algorithm 1 in Karimireddy et al. 2020. With a constant rate the sum is K*eta;
    with a schedule it is the sum of what was used.
    """
    return {
        name: np.asarray(own[name] - c + (start[name] - end[name]) / lr_sum, dtype=np.float32)
        for name, c in control.items()
    }


def objective_penalty(
    network: nn.Module, mu: float, control: Weights, own: Weights, device: str
) -> Penalty | None:
    """The term that the site's strategy adds to the loss of every batch."""
    if not control and mu == 0:
        return None
    network.to(device)
    if control:
        drift = [
            torch.from_numpy(np.asarray(control[name] - own[name], dtype=np.float32)).to(device)
            for name, _ in network.named_parameters()
        ]
        return lambda net: control_penalty(list(net.parameters()), drift)
    anchor = [w.detach().clone() for w in network.parameters()]
    return lambda net: proximal_penalty(list(net.parameters()), anchor, mu)
