"""Train a network on one site's examples, or apply it to them. Returns numbers, prints nothing."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fl.data.beat_rows import covering_rows
from fl.data.cohort import Batch, Cohort, Indices
from fl.data.gpu_cohort import batch_maker
from fl.models.network_input import network_input
from fl.training.added_examples import with_added_examples
from fl.training.augmentation import augment_batch
from fl.training.batches import ROW_BATCH, epoch_batches
from fl.training.class_imbalance import added_log_odds, class_weights, epoch_order, focal_exponent
from fl.training.device import mixed_precision, move_to, one_thread, seed_dropout
from fl.training.dropout import dropout_set_to
from fl.training.flat_optimizers import SGD, AdamW, Optimizer
from fl.training.flat_parameters import FlatParameters
from fl.training.frozen import train_mode
from fl.training.losses import loss_to_report, task_loss
from fl.util.errors import DataError
from fl.util.gpu_memory import to_device
from fl.util.random_streams import stream, torch_seed

WARMUP = 0.05  # share of the whole run
BATCH_SAMPLES = 64_000  # per lead, in a batch of predictions
Penalty = Callable[[nn.Module], Tensor]  # network -> a term that is added to the loss
OptimizerState = dict[str, Tensor]  # "row/field" -> tensor: see `_optimizer_state`


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How a site trains in one round. The round's place in the run decides the learning rates."""

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
    simulated: int = 0  # simulated recordings of rare classes, beside the site's own
    dropout: float = -1.0  # of the network's dropout layers; -1: their own
    # Share of examples that show only their features; -1: the network's own.
    signal_dropout: float = -1.0
    by_patient: bool = False  # in an epoch's loss every patient counts alike, not every example
    sgd: bool = False  # gradient steps, unclipped, instead of AdamW
    momentum: float = 0.0  # of sgd
    constant: bool = False  # `lr` throughout, no schedule
    restart: bool = False  # the schedule covers each round by itself instead of the whole run
    ema: float = 0.0  # decay per step of a running mean of the weights, which is the result
    device: str = "cpu"
    bf16: bool | None = None  # compute in bfloat16; None: on a GPU that supports it
    withheld: tuple[int, ...] = ()  # classes of which the reported loss may not tell


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What one round of training at a site reports."""

    loss_sum: float  # sum of the training loss over the examples, as they were trained on
    n_seen: int  # examples trained on, over all epochs
    steps: int  # gradient steps
    lr_sum: float  # sum of the steps' learning rates
    state: OptimizerState  # of the optimizer, for the site's next round


def learning_rate(plan: TrainingPlan, done: float) -> float:
    """Linear warm-up, then a cosine to 0, by default over the whole run.

    `done` is the share of the round's steps that have been taken, from 0 to 1. The cosine is that
    of Loshchilov & Hutter 2017, arXiv:1608.03983.
    """
    if plan.constant:
        return plan.lr
    progress = done if plan.restart else (plan.round - 1 + done) / plan.rounds
    warm_up = min(1.0, progress / WARMUP) if progress < WARMUP else 1.0
    return plan.lr * max(warm_up, 0.02) * 0.5 * (1 + math.cos(math.pi * progress))


def fit(
    network: nn.Module,
    cohort: Cohort,
    plan: TrainingPlan,
    state: OptimizerState | None = None,
    penalty: Penalty | None = None,
    pull: float = 0.0,
    anchor: Mapping[str, Tensor] | None = None,
) -> FitResult:
    """Train a network in place for one round. Same plan, data and state: same weights.

    `penalty` is added to the loss of every batch (SCAFFOLD's correction, for example). `pull` is
    the strength of a pull back to the weights at the start (FedProx), or to those of `anchor`, a
    state dict, beside the gradient: see `Optimizer`. `state` is the optimizer's after the site's
    previous round; without it the optimizer starts from nothing.
    Raises DataError if the site has no example of a class that is trained on.
    """
    one_thread()
    with dropout_set_to(network, plan.dropout, plan.signal_dropout):
        return _fit(network, cohort, plan, state, penalty, pull, anchor)


def _fit(
    network: nn.Module,
    own: Cohort,
    plan: TrainingPlan,
    state: OptimizerState | None,
    penalty: Penalty | None,
    pull: float,
    anchor: Mapping[str, Tensor] | None,
) -> FitResult:
    cohort = with_added_examples(
        own, seed=plan.seed, site=plan.site, imbalance=plan.imbalance, simulated=plan.simulated
    )
    rng = stream(plan.seed, "fit", plan.site, plan.round)
    seed_dropout(torch_seed(plan.seed, "dropout", plan.site, plan.round), plan.device)
    move_to(network, plan.device)
    train_mode(network)
    rows = FlatParameters.of(network)
    optimizer = _optimizer(rows, plan, pull, anchor)
    _restore_state(optimizer, rows, state)
    mean_network = _running_mean(network, plan)
    weights = class_weights(cohort, plan.imbalance)
    weights = None if weights is None else weights.to(plan.device)
    added = added_log_odds(cohort, plan.imbalance, plan.per_recording, len(own))
    added = None if added is None else added.to(plan.device)
    focus = focal_exponent(plan.imbalance)
    read = network_input(network)
    make_batch = batch_maker(cohort, plan.device, read.signal)
    loss_sum: float | Tensor = 0.0
    lr_sum, n_seen, step = 0.0, 0, 0
    for _ in range(plan.epochs):
        order = epoch_order(cohort, plan.imbalance, plan.per_recording, rng)
        if not len(order):
            raise _nothing_to_train_on(cohort, plan)
        batches = epoch_batches(cohort, order, plan.batch_size, read, plan.by_patient, rng)
        total = len(batches) * plan.epochs
        for taken in batches:
            examples = taken.examples
            lr = learning_rate(plan, min(step / total, 1.0))
            batch = make_batch(examples, cohort.random_starts(examples, rng))
            batch = augment_batch(batch, cohort.task, plan.augment, rng)
            with mixed_precision(plan.device, plan.bf16):
                logits = logits_of(network, batch)
            if added is not None:
                logits = logits + added
            shares = None if taken.weights is None else to_device(taken.weights, plan.device)
            loss = task_loss(cohort.task, logits, batch.labels, weights, focus, shares)
            objective = loss if penalty is None else loss + penalty(network)
            rows.differentiate(objective)
            if not plan.sgd:
                nn.utils.clip_grad_norm_(rows.weights, 1.0)
            optimizer.step(lr)
            if mean_network is not None:
                mean_network.update_parameters(network)
            if plan.withheld:
                given = (plan.withheld, weights, focus, shares)
                loss = loss_to_report(cohort.task, logits.detach(), batch.labels, *given)
            loss_sum += _loss_value(loss) * taken.counted
            lr_sum += lr
            n_seen += taken.counted
            step += 1
    rows.release()
    if mean_network is not None:
        network.load_state_dict(mean_network.module.state_dict())
    return FitResult(
        loss_sum=float(loss_sum),
        n_seen=n_seen,
        steps=step,
        lr_sum=lr_sum,
        state=_optimizer_state(optimizer, rows),
    )


def predict(
    network: nn.Module,
    cohort: Cohort,
    crops: int = 0,
    batch_size: int = 0,
    device: str = "cpu",
    bf16: bool | None = None,
    places: Indices | None = None,
) -> NDArray[np.float64]:
    """Probabilities (example, class), the mean over evenly spaced crops of each example.

    There are at most `crops` of them, or as many as the task says. `batch_size` and `places` are
    as in `crop_batches`.
    They are rounded to seven decimals, as in files, so that metrics recomputed from a file agree.
    """
    one_thread()
    move_to(network, device)
    network.eval()
    rows, probabilities = [], []
    with torch.inference_mode(), mixed_precision(device, bf16):
        batches = crop_batches(network, cohort, crops, batch_size, device, places)
        for batch, example, used in batches:
            logits = logits_of(network, batch).double()
            exclusive = cohort.task.exclusive
            probabilities.append(logits.softmax(dim=1) if exclusive else logits.sigmoid())
            rows.append((example, used))
    if not rows:
        return np.zeros((len(cohort), len(cohort.task.classes)))
    example, used = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    p = torch.cat(probabilities).cpu().numpy()[used]
    return np.asarray(np.round(mean_over_crops(p, example[used], len(cohort)), 7))


def mean_over_crops(
    p: NDArray[np.float64], example: Indices, n_examples: int
) -> NDArray[np.float64]:
    """The mean of each example's crops: (crop, class), (crop,) its example -> (example, class).

    Zeros for an example without crops.
    """
    total = np.zeros((n_examples, p.shape[1]))
    np.add.at(total, example, p)
    return total / np.maximum(np.bincount(example, minlength=n_examples), 1)[:, None]


def crop_batches(
    network: nn.Module,
    cohort: Cohort,
    crops: int = 0,
    batch_size: int = 0,
    device: str = "cpu",
    places: Indices | None = None,
) -> Iterator[tuple[Batch, Indices, NDArray[np.bool_]]]:
    """What `predict` shows a network: batches, the example of each row, and which rows answer.

    A row that does not answer is only there for others. `batch_size` is 64 for ten seconds and more
    for shorter examples unless it is given. `places` (crop,): the row of each crop, where the rows
    of all batches are numbered; it increases over the crops of an example. Batches are then whole,
    filled up with rows that do not answer. How torch adds depends on the size of a batch and on a
    row's place in it; at the same place of batches of one size a crop is answered with the same
    bits, whatever else they hold.
    """
    read = network_input(network)
    batch_size = batch_size or max(1, BATCH_SAMPLES // cohort.task.samples)
    if read.row > 1:
        rows, answered = covering_rows(cohort, read.row, read.later)
        example, used = rows.reshape(-1), answered.reshape(-1)
        starts = np.zeros(len(example), dtype=np.int64)
        batch_size = read.row * max(1, ROW_BATCH * batch_size // read.row)
    else:
        example, starts = cohort.even_crops(crops or cohort.task.crops)
        used = np.ones(len(example), dtype=bool)
    if places is not None and len(places):
        crop = np.zeros(-(-(places.max() + 1) // batch_size) * batch_size, dtype=np.int64)
        crop[places] = np.arange(len(example))
        example, starts, used = example[crop], starts[crop], np.isin(np.arange(len(crop)), places)
    make_batch = batch_maker(cohort, device, read.signal)
    for begin in range(0, len(example), batch_size):
        some = slice(begin, begin + batch_size)
        yield make_batch(example[some], starts[some]), example[some], used[some]


def _nothing_to_train_on(cohort: Cohort, plan: TrainingPlan) -> DataError:
    classes = ", ".join(cohort.task.trainable)
    return DataError(
        f"{plan.site}: none of its {len(cohort)} training examples shows a class that the "
        f"{cohort.task.name} task trains on ({classes}). Give the site more patients, or leave it "
        "out."
    )


def _optimizer(
    rows: FlatParameters, plan: TrainingPlan, pull: float, anchor: Mapping[str, Tensor] | None
) -> Optimizer:
    common: dict[str, Any] = {
        "rows": rows.weights,
        "weight_decay": plan.weight_decay,
        "pull": pull,
        "anchors": rows.values(anchor) if pull else (),
    }
    if plan.sgd:
        return SGD(rate_factors=[1.0] * len(rows.weights), momentum=plan.momentum, **common)
    return AdamW(rate_factors=rows.rate_factors, **common)


def _running_mean(network: nn.Module, plan: TrainingPlan) -> AveragedModel | None:
    if not plan.ema:
        return None
    mean = get_ema_multi_avg_fn(plan.ema)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=mean)


def logits_of(network: nn.Module, batch: Batch) -> Tensor:
    """A network's answer to a batch: (batch, class)."""
    logits: Tensor = network(batch.signal, batch.lead_mask, batch.features)
    return logits


def _loss_value(loss: Tensor) -> float | Tensor:
    """A loss to add up; it stays on a GPU, because reading it would wait for every step."""
    return loss.detach().double() if loss.is_cuda else loss.item()


def _optimizer_state(optimizer: Optimizer, rows: FlatParameters) -> OptimizerState:
    """What the optimizer keeps of each row of weights: AdamW its moments and number of steps."""
    return {
        f"{number}/{field}": value.detach().cpu().clone()
        for number, weights in enumerate(rows.weights)
        for field, value in optimizer.state[weights].items()
    }


def _restore_state(
    optimizer: Optimizer, rows: FlatParameters, state: OptimizerState | None
) -> None:
    for key, value in (state or {}).items():
        number, field = key.split("/")
        weights = rows.weights[int(number)]
        # A copy, because training changes it; on the weights' device, as fused AdamW requires.
        optimizer.state[weights][field] = value.clone().to(weights.device)
