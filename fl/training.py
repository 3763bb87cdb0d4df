"""Train and apply a network on one site's examples. Returns numbers, prints nothing."""

import ctypes
import functools
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fl.augment import augmented
from fl.cohort import Batch, Cohort
from fl.gpu import mixed_precision
from fl.imbalance import class_weights, epoch_order, focus
from fl.optimizers import SGD, AdamW, Optimizer
from fl.resident import cutter
from fl.seeds import stream, torch_seed
from fl.tasks import Task

WARMUP = 0.05  # share of the whole run
RR_RATE = 2.0  # learning-rate factor of the small RR branch, which trains too slowly otherwise
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
CROPS = 4  # crops averaged per recording when a network is applied
Penalty = Callable[[nn.Module], Tensor]
OptimizerState = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one visit trains: the share of the run it covers decides its learning rates."""

    seed: int
    site: str
    round: int  # from 1
    rounds: int
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    per_recording: int = 0  # most examples of one recording per epoch; 0: all
    augment: tuple[str, ...] = ()  # names of AUGMENTATIONS
    imbalance: str = "none"  # a name of IMBALANCE
    sgd: bool = False  # gradient steps, unclipped, instead of AdamW
    momentum: float = 0.0  # of sgd
    constant: bool = False  # `lr` throughout, no schedule
    restart: bool = False  # the schedule is over each visit instead of the whole run
    ema: float = 0.0  # decay per step of a running mean of the weights, which the visit ends with
    device: str = "cpu"
    bf16: bool | None = None  # the network in bfloat16; None: on a GPU that can


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a visit reports."""

    loss_sum: float  # sum over examples of the training loss, seen while training
    n_seen: int  # examples seen, all epochs
    steps: int
    lr_sum: float  # sum of the steps' learning rates
    state: OptimizerState


def one_thread() -> None:
    """One thread per process: sums must not depend on how many cores a machine has."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@functools.cache
def keep_memory() -> None:
    """Let this process keep the memory of a training step for the next one.

    glibc hands large blocks back at once, and the kernel clears them again for the next step: up
    to 800 page faults a step of the default network, 2 of its 22 ms.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # the largest it takes
        mallopt(M_TRIM_THRESHOLD, 256 * 2**20)


def task_loss(
    task: Task, logits: Tensor, labels: Tensor, weights: Tensor | None = None, focus: float = 0.0
) -> Tensor:
    """Mean loss per example: (batch, class), (batch, class) -> scalar.

    Rhythm: binary cross-entropy over the annotated classes of each example; a class that the
    source never annotated adds nothing. Beat: cross-entropy. `weights` (class,) multiply what
    the examples of a class add, `focus` is the exponent of focal loss.
    """
    if task.exclusive:
        truth = labels.argmax(dim=1)
        log_p = logits.log_softmax(dim=1).gather(1, truth[:, None])[:, 0]
        each = -log_p * _unsure(log_p, focus)
        return (each if weights is None else each * weights[truth]).mean()
    known = (labels >= 0).float()
    losses = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none")
    losses = losses * _unsure(-losses, focus)
    if weights is not None:
        losses = losses * torch.where(labels > 0, weights, torch.ones_like(weights))
    # Divided by the number of classes, not of annotated ones: a source that annotates six of
    # nine gives each of its classes the same weight as a source that annotates all.
    return (losses * known).sum() / labels.numel()


def _unsure(log_p: Tensor, focus: float) -> Tensor:
    """Focal loss's factor (1 - p)^focus, p the probability of what is true."""
    return (1 - log_p.exp()).clamp(min=0) ** focus if focus else torch.ones_like(log_p)


def learning_rate(plan: Plan, done: float) -> float:
    """Warm-up then cosine, by default over the whole run. `done`: share of the visit."""
    if plan.constant:
        return plan.lr
    progress = done if plan.restart else (plan.round - 1 + done) / plan.rounds
    warm = min(1.0, progress / WARMUP) if progress < WARMUP else 1.0
    return plan.lr * max(warm, 0.02) * 0.5 * (1 + math.cos(math.pi * progress))


def fit(
    network: nn.Module,
    cohort: Cohort,
    plan: Plan,
    state: OptimizerState | None = None,
    penalty: Penalty | None = None,
) -> Fitted:
    """Train in place for one visit. Same plan, same data, same state: same weights.

    `penalty` is added to the loss of every batch (FedProx's term). `state` is the optimizer's
    from the site's last visit; without it AdamW starts afresh.
    """
    one_thread()
    keep_memory()
    rng = stream(plan.seed, "fit", plan.site, plan.round)
    torch.manual_seed(torch_seed(plan.seed, "dropout", plan.site, plan.round))
    network.to(plan.device).train()
    rows = Rows.of(network)
    optimizer = _optimizer(rows, plan)
    _restore(optimizer, rows, state)
    running = _running_mean(network, plan)
    weights = class_weights(cohort, plan.imbalance)
    weights = None if weights is None else weights.to(plan.device)
    cut = cutter(cohort, plan.device)
    loss_sum: float | Tensor = 0.0
    lr_sum, n_seen, step = 0.0, 0, 0
    for _ in range(plan.epochs):
        order = epoch_order(cohort, plan.imbalance, plan.per_recording, rng)
        batches = math.ceil(len(order) / plan.batch_size)
        total = batches * plan.epochs
        for chosen in np.array_split(order, batches):
            rate = learning_rate(plan, min(step / total, 1.0))
            batch = cut(chosen, cohort.random_starts(chosen, rng))
            batch = augmented(batch, cohort.task, plan.augment, rng)
            with mixed_precision(plan.device, plan.bf16):
                logits = _apply(network, batch)
            loss = task_loss(cohort.task, logits, batch.labels, weights, focus(plan.imbalance))
            objective = loss if penalty is None else loss + penalty(network)
            rows.differentiate(objective)
            if not plan.sgd:
                nn.utils.clip_grad_norm_(rows.weights, 1.0)
            optimizer.step(rate)
            if running is not None:
                running.update_parameters(network)
            loss_sum += _number(loss) * len(chosen)
            lr_sum += rate
            n_seen += len(chosen)
            step += 1
    rows.release()
    if running is not None:
        network.load_state_dict(running.module.state_dict())
    return Fitted(
        loss_sum=float(loss_sum),
        n_seen=n_seen,
        steps=step,
        lr_sum=lr_sum,
        state=_saved(optimizer, rows),
    )


def predict(
    network: nn.Module,
    cohort: Cohort,
    crops: int = CROPS,
    batch_size: int = 64,
    device: str = "cpu",
    bf16: bool | None = None,
) -> NDArray[np.float64]:
    """Probabilities (example, class), the mean over evenly spaced crops of each example.

    Rounded to seven decimals, as files hold them, so that a file gives the same metrics.
    """
    one_thread()
    network.to(device).eval()
    example, starts = cohort.even_crops(crops)
    cut, parts = cutter(cohort, device), []
    with torch.inference_mode(), mixed_precision(device, bf16):
        for at in range(0, len(example), batch_size):
            rows = slice(at, at + batch_size)
            logits = _apply(network, cut(example[rows], starts[rows])).double()
            parts.append(logits.softmax(dim=1) if cohort.task.exclusive else logits.sigmoid())
    total = np.zeros((len(cohort), len(cohort.task.classes)))
    if parts:
        np.add.at(total, example, torch.cat(parts).cpu().numpy())
    counts = np.bincount(example, minlength=len(cohort))
    return np.asarray(np.round(total / counts[:, None], 7))


def mean_loss(task: Task, labels: NDArray[np.int8], p: NDArray[np.float64]) -> float:
    """The task's loss of probabilities, per example."""
    p = p.clip(1e-7, 1 - 1e-7)
    if task.exclusive:
        return float(-np.log(p[labels == 1]).mean())
    losses = np.where(labels == 1, -np.log(p), -np.log1p(-p)) * (labels >= 0)
    return float(losses.sum() / labels.size)


@dataclass(frozen=True)
class Rows:
    """A network's weights end to end in one row per learning rate while they are trained.

    The network's parameters are views of the rows. Clipping and AdamW then take a few calls for
    all weights instead of several for each of seventy small ones.
    """

    named: tuple[dict[str, nn.Parameter], ...]  # the parameters in each row
    weights: tuple[nn.Parameter, ...]
    rates: tuple[float, ...]  # factor of the learning rate

    @classmethod
    def of(cls, network: nn.Module) -> "Rows":
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


def _optimizer(rows: Rows, plan: Plan) -> Optimizer:
    decay = plan.weight_decay
    if plan.sgd:
        ones = [1.0] * len(rows.weights)
        return SGD(rows=rows.weights, rates=ones, weight_decay=decay, momentum=plan.momentum)
    return AdamW(rows=rows.weights, rates=rows.rates, weight_decay=decay)


def _running_mean(network: nn.Module, plan: Plan) -> AveragedModel | None:
    if not plan.ema:
        return None
    mean = get_ema_multi_avg_fn(plan.ema)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=mean)


def _apply(network: nn.Module, batch: Batch) -> Tensor:
    logits: Tensor = network(batch.signal, batch.lead_mask, batch.features)
    return logits


def _number(loss: Tensor) -> float | Tensor:
    """A loss to add up. A GPU keeps it until the end: to read it is to wait for every step."""
    return loss.detach().double() if loss.is_cuda else loss.item()


def _saved(optimizer: Optimizer, rows: Rows) -> OptimizerState:
    """AdamW's moments and number of steps, of each row of weights."""
    return {
        f"{number}/{field}": value.detach().cpu().clone()
        for number, weights in enumerate(rows.weights)
        for field, value in optimizer.state[weights].items()
    }


def _restore(optimizer: Optimizer, rows: Rows, state: OptimizerState | None) -> None:
    for key, value in (state or {}).items():
        number, field = key.split("/")
        weights = rows.weights[int(number)]
        # A copy, which training changes. A fused AdamW counts its steps where the weights are.
        optimizer.state[weights][field] = value.clone().to(weights.device)
