"""AdamW and SGD over whole rows of weights, by torch's own functions.

torch's optimizer objects compute the same by the same functions, but creating the first one loads
torch's compiler: more than a second in every process that trains, although nothing is compiled.
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
    """Takes gradient steps; the state it keeps of each row has the names that torch uses.

    With `anchors` each step first pulls every row towards its anchor, by (learning rate) * `pull`
    of their distance. Like AdamW's weight decay the pull is no part of the gradient, so that
    neither Adam's denominator nor clipping changes its size.
    """

    rows: Sequence[nn.Parameter]
    rate_factors: Sequence[float]  # of each row's learning rate
    weight_decay: float
    pull: float = 0.0
    anchors: Sequence[Tensor] = ()  # of each row; none: no pull
    state: dict[nn.Parameter, dict[str, Tensor]] = field(default_factory=lambda: defaultdict(dict))

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step of every row at learning rate `lr`; every row must have its gradient."""
        for number, (row, factor) in enumerate(zip(self.rows, self.rate_factors, strict=True)):
            assert row.grad is not None
            if self.anchors:
                # At most to the anchor itself: a longer step would swing ever further past it.
                row.lerp_(self.anchors[number], min(1.0, factor * lr * self.pull))
            self._step(row, row.grad, factor * lr)

    @abstractmethod
    def _step(self, row: nn.Parameter, grad: Tensor, lr: float) -> None: ...


class AdamW(Optimizer):
    """Loshchilov & Hutter 2019, arXiv:1711.05101, with torch's defaults."""

    def _step(self, row: nn.Parameter, grad: Tensor, lr: float) -> None:
        state = self.state[row]
        if not state:
            # On the weights' own device, because there a GPU counts the steps.
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
    """Plain gradient steps, with momentum unless it is 0."""

    momentum: float = 0.0

    def _step(self, row: nn.Parameter, grad: Tensor, lr: float) -> None:
        state = self.state[row]
        momentum_buffers: list[Tensor | None] = [state.get("momentum_buffer")]
        sgd(
            [row],
            [grad],
            momentum_buffers,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        if momentum_buffers[0] is not None:
            state["momentum_buffer"] = momentum_buffers[0]
