"""While a network is trained, all weights of one learning rate lie in one long row of memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fl.models.network_parts import network_layout
from fl.training.frozen import trained_parameters


@dataclass(frozen=True)
class FlatParameters:
    """A network's weights in one row per learning rate; its parameters are views of the rows.

    Frozen parameters are in no row: nothing that acts on rows can move them.

    Gradient clipping and AdamW then take a few calls for all weights, instead of several for each
    of about seventy small ones.
    """

    named: tuple[dict[str, nn.Parameter], ...]  # the parameters in each row
    weights: tuple[nn.Parameter, ...]  # the rows
    rate_factors: tuple[float, ...]  # of each row's learning rate

    @classmethod
    def of(cls, network: nn.Module) -> "FlatParameters":
        """The rows of a network; the network itself declares which parameters learn faster."""
        parts = network_layout(network).parts
        by_factor: dict[float, dict[str, nn.Parameter]] = {}
        for name, parameter in trained_parameters(network).items():
            by_factor.setdefault(parts.rate_factor(name), {})[name] = parameter
        rows = cls(
            tuple(by_factor.values()),
            tuple(nn.Parameter(_concatenated(named.values())) for named in by_factor.values()),
            tuple(by_factor),
        )
        for named, weights in zip(rows.named, rows.weights, strict=True):
            for name, view in _views(named, weights.detach()).items():
                named[name].data = view
        return rows

    def differentiate(self, objective: Tensor) -> None:
        """Store the gradient of a scalar objective in the rows."""
        parameters = [p for named in self.named for p in named.values()]
        gradients = iter(torch.autograd.grad(objective, parameters, materialize_grads=True))
        for named, weights in zip(self.named, self.weights, strict=True):
            weights.grad = _concatenated([next(gradients) for _ in named])

    def values(self, state: Mapping[str, Tensor] | None = None) -> list[Tensor]:
        """Copies of the rows; with a state dict, rows of its entries."""
        if state is None:
            return [row.detach().clone() for row in self.weights]
        return [
            _concatenated(state[name] for name in named).to(row.device)
            for named, row in zip(self.named, self.weights, strict=True)
        ]

    def release(self) -> None:
        """Give each parameter its own memory again, as code that saves a network expects."""
        for named in self.named:
            for parameter in named.values():
                parameter.data = parameter.data.clone()


def _concatenated(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _views(named: dict[str, nn.Parameter], row: Tensor) -> dict[str, Tensor]:
    """The part of a row that belongs to each parameter, in the parameter's shape."""
    pieces = torch.split(row, [p.numel() for p in named.values()])
    return {n: piece.view(p.shape) for (n, p), piece in zip(named.items(), pieces, strict=True)}
