"""DP-SGD at a site, with the patient as the unit (Abadi et al. 2016, doi:10.1145/2976749.2978318).

A step draws each training patient with the same chance, independently of the others (Poisson
sampling). A drawn patient's gradient is that of the mean loss of a few of the patient's examples,
scaled to a length of at most the clip. Normal noise is added to their sum, and the sum is divided
by the number of patients that a step draws on average.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.data.cohort import Batch, Cohort, Indices
from fl.data.gpu_cohort import batch_maker
from fl.models.network_input import network_input
from fl.privacy.differential_privacy.gaussian_noise import NormalNoise
from fl.training.augmentation import augment_batch
from fl.training.device import one_thread
from fl.training.dropout import dropout_set_to
from fl.training.flat_optimizers import SGD
from fl.training.flat_parameters import FlatParameters
from fl.training.frozen import train_mode
from fl.training.loop import FitResult, TrainingPlan, learning_rate, logits_of
from fl.training.losses import task_loss
from fl.util.errors import ConfigError
from fl.util.random_streams import torch_seed

PATIENT_EXAMPLES = 4  # of one patient in a step, at most
Draw = list[Indices]  # of each drawn patient, its examples


@dataclass(frozen=True, kw_only=True)
class PrivateSteps:
    """What makes a round's steps private. A site with its own noise keeps the budget by itself."""

    steps: int  # of the round
    sample_rate: float  # chance of each patient in a step
    clip: float  # most that one patient's gradient is long
    noise: float  # standard deviation of the noise that this site adds to a sum, over the clip
    normal: NormalNoise
    # Draws patients and crops. Sampling spends less privacy only while nobody knows who was drawn.
    rng: np.random.Generator
    shared_forward: bool  # one forward pass of a step's patients together: the body is frozen


def steps_of_round(local_epochs: int, sample_rate: float, secure: bool) -> int:
    """Steps of DP-SGD that each site takes in a round.

    Under secure aggregation it is one. Sites then share the noise, and only of a sum of steps that
    all begin at the same weights is it known how much noise it has.
    """
    return 1 if secure else max(1, round(local_epochs / sample_rate))


def private_fit(
    network: nn.Module, cohort: Cohort, plan: TrainingPlan, private: PrivateSteps, pull: float = 0.0
) -> FitResult:
    """Train a network in place for one round of private steps. Its loss is not computed.

    `ConfigError` if the network mixes patients: by statistics of a batch, or by rows of beats.
    """
    one_thread()
    require_separate_patients(network)
    network.to(plan.device)
    rng = private.rng
    torch.manual_seed(torch_seed(plan.seed, "dropout", plan.site, plan.round))
    with dropout_set_to(network, plan.dropout, plan.signal_dropout):
        train_mode(network)
        rows = FlatParameters.of(network)
        optimizer = SGD(
            rows=rows.weights,
            weight_decay=plan.weight_decay,
            pull=pull,
            anchors=rows.values() if pull else (),
            rate_factors=[1.0] * len(rows.weights),
            momentum=plan.momentum,
        )
        examples_of = by_patient(cohort)
        expected = private.sample_rate * len(examples_of)
        lr_sum = 0.0
        for step in range(private.steps):
            lr = learning_rate(plan, step / private.steps)
            draw = draw_patients(examples_of, private.sample_rate, rng)
            losses = _patient_losses(network, cohort, draw, plan, private.shared_forward, rng)
            total = sum_of_clipped(losses, rows, private)
            noised = _noised(total, private, plan.device) / expected
            sizes = [len(weights) for weights in rows.weights]
            for weights, part in zip(rows.weights, torch.split(noised, sizes), strict=True):
                weights.grad = part
            optimizer.step(lr)
            lr_sum += lr
        rows.release()
    return FitResult(
        loss_sum=0.0,
        n_seen=max(private.steps, round(private.steps * expected)),
        steps=private.steps,
        lr_sum=lr_sum,
        state={},
    )


def require_separate_patients(network: nn.Module) -> None:
    """`ConfigError` if an example's output depends on other examples of its batch."""
    if network_input(network).row > 1:
        raise ConfigError(
            "--dp patient: this network reads rows of neighbouring beats, which cannot be drawn "
            "patient by patient. Use one that reads single examples, e.g. --model beat_cnn."
        )
    mixing = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    for name, module in network.named_modules():
        if isinstance(module, mixing) and any(p.requires_grad for p in module.parameters()):
            raise ConfigError(
                f"--dp patient: {name} is batch normalisation, which mixes the patients of a "
                "batch. Use a network without it."
            )


def by_patient(cohort: Cohort) -> Draw:
    """The examples of each patient, in order of name."""
    order = np.argsort(cohort.patient_numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(cohort.patient_numbers))[:-1])


def draw_patients(examples_of: Draw, rate: float, rng: np.random.Generator) -> Draw:
    """Each patient with the chance `rate`, with at most PATIENT_EXAMPLES examples, drawn too."""
    drawn = np.flatnonzero(rng.random(len(examples_of)) < rate)
    return [
        rng.choice(examples_of[i], min(PATIENT_EXAMPLES, len(examples_of[i])), replace=False)
        for i in drawn
    ]


def sum_of_clipped(losses: Iterable[Tensor], rows: FlatParameters, private: PrivateSteps) -> Tensor:
    """The sum of the gradients of patients' losses, none longer than the clip: (weight,)."""
    parameters = [p for named in rows.named for p in named.values()]
    total = torch.zeros(sum(map(len, rows.weights)), device=rows.weights[0].device)
    for loss in losses:
        found = torch.autograd.grad(
            loss, parameters, retain_graph=private.shared_forward, materialize_grads=True
        )
        gradient = torch.cat([part.reshape(-1) for part in found])
        norm = float(gradient.norm())
        # A patient whose gradient is no number adds nothing.
        if math.isfinite(norm):
            total += gradient * min(1.0, private.clip / norm) if norm else gradient
    return total


def _patient_losses(
    network: nn.Module,
    cohort: Cohort,
    draw: Draw,
    plan: TrainingPlan,
    together: bool,
    rng: np.random.Generator,
) -> Iterator[Tensor]:
    """The mean loss of each drawn patient's examples, by one forward pass or by one for each."""
    make_batch = batch_maker(cohort, plan.device, network_input(network).signal)

    def read(examples: Indices) -> tuple[Tensor, Batch]:
        batch = make_batch(examples, cohort.random_starts(examples, rng))
        batch = augment_batch(batch, cohort.task, plan.augment, rng)
        return logits_of(network, batch), batch

    if together and draw:
        logits, batch = read(np.concatenate(draw))
        sizes = [len(examples) for examples in draw]
        parts = zip(torch.split(logits, sizes), torch.split(batch.labels, sizes), strict=True)
        yield from (task_loss(cohort.task, own, labels) for own, labels in parts)
        return
    for examples in draw:
        logits, batch = read(examples)
        yield task_loss(cohort.task, logits, batch.labels)


def _noised(total: Tensor, private: PrivateSteps, device: str) -> Tensor:
    """The sum with noise, added in double precision."""
    if private.noise == 0:
        return total
    scale = private.noise * private.clip
    noise: NDArray[np.float64] = scale * private.normal(total.numel())
    return (total.double().cpu() + torch.from_numpy(noise)).float().to(device)
