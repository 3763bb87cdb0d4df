"""Train and apply a network on one site's examples. Returns numbers, prints nothing."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fl.data.cohort import Batch, Cohort
from fl.data.gpu_cohort import batch_cutter
from fl.training.augmentation import augment_batch
from fl.training.class_imbalance import class_weights, epoch_order, focal_exponent
from fl.training.device import mixed_precision, one_thread
from fl.training.flat_optimizers import SGD, AdamW, Optimizer
from fl.training.flat_parameters import FlatParameters
from fl.training.losses import task_loss
from fl.util.random_streams import stream, torch_seed

WARMUP = 0.05  # share of the whole run
CROPS = 4  # crops averaged per recording when a network is applied
Penalty = Callable[[nn.Module], Tensor]
OptimizerState = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
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
class FitResult:
    """What a visit reports."""

    loss_sum: float  # sum over examples of the training loss, seen while training
    n_seen: int  # examples seen, all epochs
    steps: int
    lr_sum: float  # sum of the steps' learning rates
    state: OptimizerState


def learning_rate(plan: TrainingPlan, done: float) -> float:
    """Warm-up then cosine, by default over the whole run. `done`: share of the visit."""
    if plan.constant:
        return plan.lr
    progress = done if plan.restart else (plan.round - 1 + done) / plan.rounds
    warm = min(1.0, progress / WARMUP) if progress < WARMUP else 1.0
    return plan.lr * max(warm, 0.02) * 0.5 * (1 + math.cos(math.pi * progress))


def fit(
    network: nn.Module,
    cohort: Cohort,
    plan: TrainingPlan,
    state: OptimizerState | None = None,
    penalty: Penalty | None = None,
) -> FitResult:
    """Train in place for one visit. Same plan, same data, same state: same weights.

    `penalty` is added to the loss of every batch (FedProx's term). `state` is the optimizer's
    from the site's last visit; without it AdamW starts afresh.
    """
    one_thread()
    rng = stream(plan.seed, "fit", plan.site, plan.round)
    torch.manual_seed(torch_seed(plan.seed, "dropout", plan.site, plan.round))
    network.to(plan.device).train()
    rows = FlatParameters.of(network)
    optimizer = _optimizer(rows, plan)
    _restore(optimizer, rows, state)
    running = _running_mean(network, plan)
    weights = class_weights(cohort, plan.imbalance)
    weights = None if weights is None else weights.to(plan.device)
    cut = batch_cutter(cohort, plan.device)
    loss_sum: float | Tensor = 0.0
    lr_sum, n_seen, step = 0.0, 0, 0
    for _ in range(plan.epochs):
        order = epoch_order(cohort, plan.imbalance, plan.per_recording, rng)
        batches = math.ceil(len(order) / plan.batch_size)
        total = batches * plan.epochs
        for chosen in np.array_split(order, batches):
            rate = learning_rate(plan, min(step / total, 1.0))
            batch = cut(chosen, cohort.random_starts(chosen, rng))
            batch = augment_batch(batch, cohort.task, plan.augment, rng)
            with mixed_precision(plan.device, plan.bf16):
                logits = _apply(network, batch)
            loss = task_loss(
                cohort.task, logits, batch.labels, weights, focal_exponent(plan.imbalance)
            )
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
    return FitResult(
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
    cut, parts = batch_cutter(cohort, device), []
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


def _optimizer(rows: FlatParameters, plan: TrainingPlan) -> Optimizer:
    decay = plan.weight_decay
    if plan.sgd:
        ones = [1.0] * len(rows.weights)
        return SGD(rows=rows.weights, rates=ones, weight_decay=decay, momentum=plan.momentum)
    return AdamW(rows=rows.weights, rates=rows.rates, weight_decay=decay)


def _running_mean(network: nn.Module, plan: TrainingPlan) -> AveragedModel | None:
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


def _saved(optimizer: Optimizer, rows: FlatParameters) -> OptimizerState:
    """AdamW's moments and number of steps, of each row of weights."""
    return {
        f"{number}/{field}": value.detach().cpu().clone()
        for number, weights in enumerate(rows.weights)
        for field, value in optimizer.state[weights].items()
    }


def _restore(optimizer: Optimizer, rows: FlatParameters, state: OptimizerState | None) -> None:
    for key, value in (state or {}).items():
        number, field = key.split("/")
        weights = rows.weights[int(number)]
        # A copy, which training changes. A fused AdamW counts its steps where the weights are.
        optimizer.state[weights][field] = value.clone().to(weights.device)
