"""SCAFFOLD at a site: its control variate corrects every step for the drift to its own data.

Source: Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1. The server's half is
`server/aggregation/scaffold.py`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from clients.local_objectives.base import ExtraUpdate, RoundStart
from fl.training.frozen import trained_parameters
from fl.training.loop import Penalty
from fl.training.state_dict import Weights


def control_penalty(local: Sequence[Tensor], drift: Sequence[Tensor]) -> Tensor:
    """The correction as a term of the loss: its gradient is `drift` = c - c_site (line 10)."""
    return torch.stack([(w * d).sum() for w, d in zip(local, drift, strict=True)]).sum()


def next_control(
    site_control: Mapping[str, np.ndarray],
    control: Weights,
    start: Weights,
    end: Weights,
    lr_sum: float,
) -> Weights:
    """The site's control variate after a round: c_site - c + (w_start - w_end) / (sum of lr).

    Option II of the paper. With a constant rate the sum is K*eta; with a schedule it is the sum
    of what was used.
    """
    return {
        name: np.asarray(site_control[name] - c + (start[name] - end[name]) / lr_sum, np.float32)
        for name, c in control.items()
    }


def scaffold_penalty(begin: RoundStart) -> Penalty:
    """The correction for one round, from the control variates that it begins with."""
    site_control = _site_control(begin)
    drift = [
        torch.from_numpy(_where_trained(begin, name, begin.sent[name] - site_control[name])).to(
            begin.device
        )
        for name in trained_parameters(begin.network)
    ]
    return lambda network: control_penalty(list(trained_parameters(network).values()), drift)


def scaffold_extra(begin: RoundStart, end: Weights, lr_sum: float) -> ExtraUpdate:
    """The site keeps its new control variate, and sends c plus the change of its own."""
    before = _site_control(begin)
    found = next_control(before, begin.sent, begin.weights, end, lr_sum)
    change = {name: _where_trained(begin, name, found[name] - before[name]) for name in found}
    return ExtraUpdate(
        kept={name: before[name] + change[name] for name in found},
        sent={name: c + change[name] for name, c in begin.sent.items()},
    )


def _site_control(begin: RoundStart) -> Weights:
    """The site's control variate, which is zero before its first round."""
    return begin.kept or {name: np.zeros_like(c) for name, c in begin.sent.items()}


def _where_trained(begin: RoundStart, name: str, values: np.ndarray) -> np.ndarray:
    """The values; 0 for a weight that no record of the site trains.

    There the site has no gradient and thus no drift to correct, and its update does not count.
    """
    return np.asarray(values * begin.trained.get(name, 1.0), dtype=np.float32)
