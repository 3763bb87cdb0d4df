"""The loss of each task."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fl.ecg.tasks import Task


def task_loss(
    task: Task,
    logits: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    focus: float = 0.0,
    by_example: Tensor | None = None,
) -> Tensor:
    """Mean loss per example: logits (batch, class), labels (batch, class) -> scalar.

    A task with any number of classes per example (rhythm): binary cross-entropy over the
    annotated classes of each example; a class that the source never annotated adds nothing. A
    task with exactly one class (beat): cross-entropy. `weights` (class,) multiply the loss of the
    examples of a class; `focus` is the exponent of the focal loss, 0 for none (Lin et al. 2017,
    arXiv:1708.02002). `by_example` (batch,) multiplies the loss of each example.
    """
    if task.exclusive:
        truth = labels.argmax(dim=1)
        log_p = logits.log_softmax(dim=1).gather(1, truth[:, None])[:, 0]
        losses = -log_p * _focal_factor(log_p, focus)
        losses = losses if weights is None else losses * weights[truth]
        return (losses if by_example is None else losses * by_example).mean()
    known = (labels >= 0).float()
    losses = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none")
    losses = losses * _focal_factor(-losses, focus)
    if weights is not None:
        losses = losses * torch.where(labels > 0, weights, torch.ones_like(weights))
    if by_example is not None:
        losses = losses * by_example[:, None]
    # Divided by the number of classes, not of annotated ones: a source that annotates six of
    # nine gives each of its classes the same weight as a source that annotates all.
    return (losses * known).sum() / labels.numel()


def loss_to_report(
    task: Task,
    logits: Tensor,
    labels: Tensor,
    withheld: Sequence[int],
    weights: Tensor | None = None,
    focus: float = 0.0,
    by_example: Tensor | None = None,
) -> Tensor:
    """`task_loss` that says nothing about some classes: as if no example were annotated for them.

    Whoever chose the weights could otherwise read from one loss how many examples show a class.
    Where an example has exactly one class, those of a withheld class are left out of the mean.
    """
    columns = list(withheld)
    if not task.exclusive:
        masked = labels.clone()
        masked[:, columns] = -1
        return task_loss(task, logits, masked, weights, focus, by_example)
    shares = (labels[:, columns] <= 0).all(dim=1).to(logits.dtype)
    shares = shares if by_example is None else shares * by_example
    total = task_loss(task, logits, labels, weights, focus, shares) * len(labels)
    return total / shares.sum().clamp(min=1e-12)


def _focal_factor(log_p: Tensor, focus: float) -> Tensor:
    """The focal loss's factor (1 - p)^focus, where p is the probability of the true label."""
    return (1 - log_p.exp()).clamp(min=0) ** focus if focus else torch.ones_like(log_p)


SMALLEST = 1e-7  # probability that a loss takes: files have seven decimals
LARGEST_EXAMPLE_LOSS = 17.0  # above -log(SMALLEST): no example's loss in an evaluation is larger


def example_losses(
    task: Task, labels: NDArray[np.int8], p: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Loss of each example's probabilities: labels and p (example, class) -> (example,)."""
    p = p.clip(SMALLEST, 1 - SMALLEST)
    if task.exclusive:
        return np.asarray(-np.log(p[labels == 1]))
    losses = np.where(labels == 1, -np.log(p), -np.log1p(-p)) * (labels >= 0)
    return np.asarray(losses.sum(axis=1) / labels.shape[1])


def patient_losses(
    task: Task,
    labels: NDArray[np.int8],
    p: NDArray[np.float64],
    patients: NDArray[Any],
) -> NDArray[np.float64]:
    """Mean loss of each patient's examples, in order of name or number: (patient,)."""
    _, patient = np.unique(patients, return_inverse=True)
    return np.asarray(np.bincount(patient, example_losses(task, labels, p)) / np.bincount(patient))


def mean_loss(task: Task, labels: NDArray[np.int8], p: NDArray[np.float64]) -> float:
    """Mean loss per example of probabilities: labels (example, class), p (example, class)."""
    return float(example_losses(task, labels, p).mean())
