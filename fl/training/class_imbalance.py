"""What to do about rare classes: which examples an epoch takes, and how much each one counts.

docs/results.md shows which of these helps; for heartbeats the default is the one that did.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl.data.cohort import Cohort

Indices = NDArray[np.int64]

KEPT = 0.25  # share of the commonest class that a thinned epoch takes
MOST = 10.0  # largest class weight: a class of eight examples must not rule the rest
FOCUS = 2.0  # focal loss's exponent (Lin et al. 2017, arXiv:1708.02002)


def _all(order: Indices, classes: Indices, rng: np.random.Generator) -> Indices:
    return order


def _thinned(order: Indices, classes: Indices, rng: np.random.Generator) -> Indices:
    """A quarter of the commonest class, others each time, and all of the rest."""
    if not len(order):
        return order
    common = classes == np.bincount(classes).argmax()
    kept: Indices = order[~common | (rng.random(len(order)) < KEPT)]
    return kept


def _balanced(order: Indices, classes: Indices, rng: np.random.Generator) -> Indices:
    """Every class equally often, with replacement; as many in all as a thinned epoch has."""
    if not len(order):
        return order
    counts = np.bincount(classes)
    size = round(len(order) - (1 - KEPT) * counts.max())
    share = (1 / counts[classes]) / np.count_nonzero(counts)
    return np.asarray(rng.choice(order, size=size, p=share / share.sum()), dtype=np.int64)


Choice = Callable[[Indices, Indices, np.random.Generator], Indices]
IMBALANCE: dict[str, Choice] = {
    "none": _all,
    "thinned": _thinned,
    "balanced": _balanced,
    "weighted": _all,
    "focal": _all,
}


def trainable_examples(cohort: Cohort) -> Indices:
    """Examples that may be trained on: those of a class that can be learnt at all."""
    task = cohort.task
    if not task.exclusive:
        return np.arange(len(cohort))
    columns = [task.classes.index(c) for c in task.trainable]
    return np.flatnonzero((cohort.labels[:, columns] == 1).any(axis=1))


def epoch_order(
    cohort: Cohort, imbalance: str, per_recording: int, rng: np.random.Generator
) -> Indices:
    """The examples of one pass, in order. Choosing by class needs one class per example."""
    order = cohort.epoch(per_recording, rng)
    if not cohort.task.exclusive:
        return order
    order = order[np.isin(order, trainable_examples(cohort))]
    return IMBALANCE[imbalance](order, cohort.labels[order].argmax(axis=1), rng)


def class_weights(cohort: Cohort, imbalance: str) -> Tensor | None:
    """Weight of each class in the loss: (class,), the mean count over its own, at most 10.

    From the site's own counts of the classes that are trained on; nothing is sent.
    """
    if imbalance != "weighted":
        return None
    counts = (cohort.labels[trainable_examples(cohort)] == 1).sum(axis=0)
    mean = counts[counts > 0].mean() if counts.any() else 1.0
    weights = np.where(counts > 0, np.minimum(mean / np.maximum(counts, 1), MOST), 1.0)
    return torch.from_numpy(weights.astype(np.float32))


def focal_exponent(imbalance: str) -> float:
    """Exponent by which the loss turns away from examples that are right already."""
    return FOCUS if imbalance == "focal" else 0.0
