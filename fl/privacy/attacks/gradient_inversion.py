"""A recording computed back from one gradient: what a single step over one patient shows.

Source: Zhu et al. 2019, arXiv:1906.08935; with the cosine of the gradients as the measure, signed
Adam steps and total variation, Geiping et al. 2020, arXiv:2003.14053.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.data.cohort import Batch, Cohort
from fl.ecg.tasks import Task
from fl.training.device import one_thread
from fl.training.losses import task_loss
from fl.util.random_streams import torch_seed

STEPS = 400
# Chosen on a training patient of MIT-BIH, of the pairs .1 and .01, .05 and .1.
RATE = 0.05  # of a step, in standard deviations of the signal; a cosine takes it to 0
SMOOTHNESS = 0.1  # weight of the mean difference of neighbouring samples


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What was computed back from one gradient."""

    signal: NDArray[np.float32]  # (lead, sample)
    cosine: float  # of its gradient and the one that was seen; 1 is the same direction


def seen_gradient(network: nn.Module, task: Task, batch: Batch) -> list[Tensor]:
    """The gradient of one plain step: what was sent less what came back, over the learning rate.

    Dropout is off, which helps the attacker. One tensor for each weight that the loss reaches.
    """
    network.eval()
    return [part.detach() for part in _gradient(network, task, batch, batch.signal, False)]


def invert(
    network: nn.Module,
    task: Task,
    batch: Batch,
    seen: Sequence[Tensor],
    seed: int,
    steps: int = STEPS,
) -> Reconstruction:
    """Search the one signal whose gradient points where the one that was seen does.

    Of `batch`, which has one example, the lead mask, features and labels are used, which the
    attacker is assumed to know, and nothing of the signal but its shape.
    """
    one_thread()
    network.eval()
    torch.manual_seed(torch_seed(seed, "inversion"))
    signal = torch.randn_like(batch.signal).requires_grad_(True)
    optimizer = torch.optim.Adam([signal], lr=RATE)
    cosine = 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        found = _gradient(network, task, batch, signal, True)
        match = _cosine(found, seen)
        rough = (signal[..., 1:] - signal[..., :-1]).abs().mean()
        (signal.grad,) = torch.autograd.grad(1 - match + SMOOTHNESS * rough, [signal])
        signal.grad.sign_()
        optimizer.step()
        cosine = float(match.detach())
    return Reconstruction(signal=signal.detach()[0].numpy(), cosine=cosine)


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's correlation of two signals, (sample,) each; 0 where one of them is constant."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def shifted_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The highest correlation over all shifts in time, the end joined to the beginning.

    A network that takes means and maxima over time hardly knows when something happened.
    """
    a, b = one - one.mean(), other - other.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not size:
        return 0.0
    products = np.fft.irfft(np.fft.rfft(a) * np.conj(np.fft.rfft(b)), len(a))
    return float(products.max()) / size


def one_example(cohort: Cohort, example: int) -> Batch:
    """The first crop of one example as a batch of one."""
    return cohort.batch(np.array([example]), np.zeros(1, dtype=np.int64))


def _gradient(
    network: nn.Module, task: Task, batch: Batch, signal: Tensor, twice: bool
) -> list[Tensor]:
    logits = network(signal, batch.lead_mask, batch.features)
    loss = task_loss(task, logits, batch.labels)
    weights = [w for w in network.parameters() if w.requires_grad]
    found = torch.autograd.grad(loss, weights, create_graph=twice, allow_unused=True)
    return [part for part in found if part is not None]


def _cosine(found: Sequence[Tensor], seen: Sequence[Tensor]) -> Tensor:
    product = torch.stack([(f * s).sum() for f, s in zip(found, seen, strict=True)]).sum()
    sizes = [torch.stack([(p**2).sum() for p in parts]).sum().sqrt() for parts in (found, seen)]
    return product / (sizes[0] * sizes[1]).clamp(min=1e-12)
