"""AdamW and SGD over whole rows of weights, by torch's own functions.

torch's optimizer objects compute the same by the same functions. But the first one that is made
loads torch's compiler, which takes more than a second in every process that trains, and compiles
nothing.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """Steps against the gradients; what it remembers of each row has torch's names."""

    rows: Sequence[nn.Parameter]
    rates: Sequence[float]  # each row's factor of the learning rate
    weight_decay: float
    state: dict[nn.Parameter, dict[str, Tensor]] = field(default_factory=lambda: defaultdict(dict))

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step for every row, whose gradients are there."""
        for row, rate in zip(self.rows, self.rates, strict=True):
            assert row.grad is not None
            self._step(row, row.grad, rate * lr)

    @abstractmethod
    def _step(self, row: nn.Parameter, grad: Tensor, lr: float) -> None: ...


class AdamW(Optimizer):
    """Loshchilov & Hutter 2019, arXiv:1711.05101, with torch's defaults."""

    def _step(self, row: nn.Parameter, grad: Tensor, lr: float) -> None:
        state = self.state[row]
        if not state:
            # Where the weights are: a GPU counts the steps itself.
            state["step"] = torch.zeros((), dtype=torch.float32, device=row.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(row), torch.zeros_like(row)
        adamw(
            [row],
            [grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=lr,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Gradient steps, with momentum if there is any."""

    momentum: float = 0.0

    def _step(self, row: nn.Parameter, grad: Tensor, lr: float) -> None:
        state = self.state[row]
        moved: list[Tensor | None] = [state.get("momentum_buffer")]
        sgd(
            [row],
            [grad],
            moved,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        if moved[0] is not None:
            state["momentum_buffer"] = moved[0]
