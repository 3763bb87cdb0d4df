"""The most probable head for a hospital's patients under a normal prior around the global head."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clients.personalization.head_inputs import AfterHead
from fl.data.cohort import Indices
from fl.training.loop import mean_over_crops

Floats = NDArray[np.float64]
STEPS = 200  # of L-BFGS, at most
TOLERANCE = 1e-4  # of the largest entry of the gradient, in patients


@dataclass(frozen=True, kw_only=True)
class Head:
    """A linear layer: logits are weight @ input + bias."""

    weight: Floats  # (class, width)
    bias: Floats  # (class,)


@dataclass(frozen=True, kw_only=True)
class HeadData:
    """Crops of examples as the head reads them, with what is known of each."""

    inputs: Floats  # (crop, width)
    features: Floats  # (crop, feature) for what follows the head
    example: Indices  # (crop,) number of its example
    labels: NDArray[np.int8]  # (crop, class): 1 yes, 0 no, -1 not annotated
    patient: Indices  # (crop,) number of its patient
    exclusive: bool  # an example has exactly one class
    trainable: NDArray[np.bool_]  # (class,) that training uses

    def take(self, rows: NDArray[np.bool_]) -> "HeadData":
        """Only these crops."""
        names = ("inputs", "features", "example", "labels", "patient")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """(crop, class) that have a loss: annotated, and of a class that training uses."""
        if not self.exclusive:
            return np.asarray((self.labels >= 0) & self.trainable)
        shown = (self.labels[:, self.trainable] == 1).any(axis=1)
        return np.repeat(shown[:, None], self.labels.shape[1], axis=1)

    @cached_property
    def shares(self) -> Floats:
        """(crop, class) weights that sum to one over each patient's crops that have a loss.

        Within a patient every example counts alike, and within an example every crop.
        """
        _, example = np.unique(self.example, return_inverse=True)
        of_example = (1 / np.bincount(example))[example][:, None] * self.counted
        _, patient = np.unique(self.patient, return_inverse=True)
        totals = np.zeros((patient.max(initial=-1) + 1, self.labels.shape[1]))
        np.add.at(totals, patient, of_example)
        return of_example / np.maximum(totals, 1e-12)[patient]

    @cached_property
    def fitted_classes(self) -> NDArray[np.bool_]:
        """(class,) that are used and that some crop shows and another one does not."""
        shown = ((self.labels == 1) & self.counted).any(axis=0)
        absent = ((self.labels == 0) & self.counted).any(axis=0)
        return np.asarray(self.trainable & shown & absent)


def fit_head(
    data: HeadData,
    prior: Head,
    precision: float,
    *,
    after: AfterHead | None = None,
    start: Head | None = None,
) -> Head:
    """The head that minimises the patients' log loss + precision / 2 * ||head - prior||^2.

    Every patient counts once in each class. Where an example may have any number of classes this
    is a logistic regression for each class, else a multinomial one; without `after` it is convex
    and has one minimum, which L-BFGS (Liu & Nocedal 1989, 10.1007/BF01589116) finds from any
    `start`. A class that nobody shows, or everybody, keeps its row of the prior, and with an
    infinite precision every class does. The prior around a shared model is that of multi-level
    regression (Gelman & Hill 2007, 10.1017/CBO9780511790942).
    """
    rows = data.fitted_classes
    if np.isinf(precision) or not rows.any():
        return prior
    shape = (int(rows.sum()), data.inputs.shape[1] + 1)
    inputs = torch.from_numpy(np.column_stack([data.inputs, np.ones(len(data.inputs))]))
    centre = torch.from_numpy(np.column_stack([prior.weight, prior.bias]))
    base = inputs @ centre.T
    moved = torch.from_numpy(np.flatnonzero(rows))
    features = torch.from_numpy(data.features)
    loss = _Loss(data)

    def cost(change: Floats) -> tuple[float, Floats]:
        at = torch.from_numpy(change).reshape(shape).requires_grad_()
        logits = base.index_add(1, moved, inputs @ at.T)
        total = loss(logits if after is None else after(logits, features))
        total = total + precision / 2 * at.square().sum()
        (gradient,) = torch.autograd.grad(total, at)
        return float(total.detach()), gradient.numpy().ravel()

    first = prior if start is None else start
    change = np.column_stack([first.weight - prior.weight, first.bias - prior.bias])[rows]
    # Here, so that a worker that fits no head does not load it.
    from scipy.optimize import minimize

    options = {"maxiter": STEPS, "gtol": TOLERANCE, "ftol": 1e-10}
    found = minimize(cost, change.ravel(), jac=True, method="L-BFGS-B", options=options)
    best = found.x.reshape(shape)
    weight, bias = prior.weight.copy(), prior.bias.copy()
    weight[rows] += best[:, :-1]
    bias[rows] += best[:, -1]
    return Head(weight=weight, bias=bias)


class _Loss:
    """Sum over patients of the mean log loss of their crops."""

    def __init__(self, data: HeadData) -> None:
        self.exclusive = data.exclusive
        self.labels = torch.from_numpy(data.labels.clip(0).astype(np.float64))
        self.shares = torch.from_numpy(data.shares)

    def __call__(self, logits: Tensor) -> Tensor:
        """(crop, class) -> a number."""
        if self.exclusive:
            each = -(logits.log_softmax(dim=1) * self.labels).sum(dim=1)
            return (each * self.shares[:, 0]).sum()
        each = torch.nn.functional.softplus(logits) - self.labels * logits
        return (each * self.shares).sum()


def probabilities(
    data: HeadData, head: Head, n_examples: int, after: AfterHead | None = None
) -> Floats:
    """The mean over each example's crops: (example, class); zeros for one without crops."""
    logits = torch.from_numpy(data.inputs @ head.weight.T + head.bias)
    if after is not None:
        with torch.no_grad():
            logits = after(logits, torch.from_numpy(data.features))
    p = (logits.softmax(dim=1) if data.exclusive else logits.sigmoid()).numpy()
    return mean_over_crops(p, data.example, n_examples)


def cross_fitted(
    data: HeadData,
    fold: Indices,
    prior: Head,
    precisions: Sequence[float],
    *,
    n_examples: int,
    fitted: NDArray[np.bool_],
    after: AfterHead | None = None,
) -> list[Floats]:
    """Probabilities of heads that never saw the example's patient, for each precision.

    `fold` (crop,) is the same for all crops of a patient; each fold is answered by heads of the
    others. `precisions` fall, so that each fit begins at the one before. `fitted` (crop,) are the
    crops that heads are fitted on. Each array is (example, class).
    """
    found = [np.zeros((n_examples, data.labels.shape[1])) for _ in precisions]
    for number in np.unique(fold):
        others, held_out = data.take((fold != number) & fitted), data.take(fold == number)
        head = prior
        for precision, p in zip(precisions, found, strict=True):
            head = fit_head(others, prior, precision, after=after, start=head)
            examples = np.unique(held_out.example)
            p[examples] = probabilities(held_out, head, n_examples, after)[examples]
    return found
