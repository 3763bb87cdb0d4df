"""A network's weights end to end in one row per learning rate while they are trained."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

RR_RATE = 2.0  # learning-rate factor of the small RR branch, which trains too slowly otherwise


@dataclass(frozen=True)
class FlatParameters:
    """A network's weights end to end in one row per learning rate while they are trained.

    The network's parameters are views of the rows. Clipping and AdamW then take a few calls for
    all weights instead of several for each of seventy small ones.
    """

    named: tuple[dict[str, nn.Parameter], ...]  # the parameters in each row
    weights: tuple[nn.Parameter, ...]
    rates: tuple[float, ...]  # factor of the learning rate

    @classmethod
    def of(cls, network: nn.Module) -> "FlatParameters":
        """The RR branch apart from the rest."""
        split: dict[float, dict[str, nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            split.setdefault(RR_RATE if "rr" in name else 1.0, {})[name] = parameter
        rows = cls(
            tuple(split.values()),
            tuple(nn.Parameter(_end_to_end(named.values())) for named in split.values()),
            tuple(split),
        )
        for named, weights in zip(rows.named, rows.weights, strict=True):
            for name, part in _parts(named, weights.detach()).items():
                named[name].data = part
        return rows

    def differentiate(self, objective: Tensor) -> None:
        """Leave the objective's gradient in the rows."""
        each = [p for named in self.named for p in named.values()]
        made = iter(torch.autograd.grad(objective, each, materialize_grads=True))
        for named, weights in zip(self.named, self.weights, strict=True):
            weights.grad = _end_to_end([next(made) for _ in named])

    def release(self) -> None:
        """Give each parameter memory of its own again, as whoever saves a network expects."""
        for named in self.named:
            for parameter in named.values():
                parameter.data = parameter.data.clone()


def _end_to_end(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _parts(named: dict[str, nn.Parameter], row: Tensor) -> dict[str, Tensor]:
    """The part of a row that belongs to each parameter, in its shape."""
    parts = torch.split(row, [p.numel() for p in named.values()])
    return {n: part.view(p.shape) for (n, p), part in zip(named.items(), parts, strict=True)}
