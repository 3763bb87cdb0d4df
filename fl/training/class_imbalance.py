"""Remedies for rare classes: which examples an epoch takes, and how much each one counts.

docs/results.md shows which of these helped; for heartbeats the default is the one that did.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fl.data.cohort import Cohort, Indices

THINNED_SHARE = 0.25  # share of the most frequent class that a thinned epoch takes
MAX_WEIGHT = 10.0  # largest class weight: a class of eight examples must not outweigh the rest
FOCAL_EXPONENT = 2.0  # of the focal loss (Lin et al. 2017, arXiv:1708.02002)


def _all(order: Indices, classes: Indices, rng: np.random.Generator) -> Indices:
    return order


def _thinned(order: Indices, classes: Indices, rng: np.random.Generator) -> Indices:
    """All examples of the rarer classes and a random quarter of the most frequent class.

    All examples where the draw would leave none, as it can at a site with very few.
    """
    if not len(order):
        return order
    most_frequent = classes == np.bincount(classes).argmax()
    kept: Indices = order[~most_frequent | (rng.random(len(order)) < THINNED_SHARE)]
    return kept if len(kept) else order


def _balanced(order: Indices, classes: Indices, rng: np.random.Generator) -> Indices:
    """Every class equally often, with replacement; as many examples as a thinned epoch has.

    At least one, however few the site has.
    """
    if not len(order):
        return order
    counts = np.bincount(classes)
    size = max(1, round(len(order) - (1 - THINNED_SHARE) * counts.max()))
    share = (1 / counts[classes]) / np.count_nonzero(counts)
    return np.asarray(rng.choice(order, size=size, p=share / share.sum()), dtype=np.int64)


# (examples in order, class of each, random numbers) -> the examples that the epoch takes
Sampler = Callable[[Indices, Indices, np.random.Generator], Indices]
IMBALANCE: dict[str, Sampler] = {
    "none": _all,
    "thinned": _thinned,
    "balanced": _balanced,
    "weighted": _all,
    "focal": _all,
}


def trainable_examples(cohort: Cohort) -> Indices:
    """Indices of the examples that may be trained on: those of the task's trainable classes."""
    task = cohort.task
    if not task.exclusive:
        return np.arange(len(cohort))
    columns = [task.classes.index(c) for c in task.trainable]
    return np.flatnonzero((cohort.labels[:, columns] == 1).any(axis=1))


def epoch_order(
    cohort: Cohort, imbalance: str, per_recording: int, rng: np.random.Generator
) -> Indices:
    """The examples of one epoch, in order: (example,) indices.

    Only a task with one class per example chooses examples by class.
    """
    order = cohort.epoch(per_recording, rng)
    if not cohort.task.exclusive:
        return order
    order = order[np.isin(order, trainable_examples(cohort))]
    return IMBALANCE[imbalance](order, cohort.labels[order].argmax(axis=1), rng)


def class_weights(cohort: Cohort, imbalance: str) -> Tensor | None:
    """Weight of each class in the loss: (class,), mean count over own count, at most 10.

    It is computed from the site's own counts of the trainable classes; nothing leaves the site.
    """
    if imbalance != "weighted":
        return None
    counts = (cohort.labels[trainable_examples(cohort)] == 1).sum(axis=0)
    mean = counts[counts > 0].mean() if counts.any() else 1.0
    weights = np.where(counts > 0, np.minimum(mean / np.maximum(counts, 1), MAX_WEIGHT), 1.0)
    return torch.from_numpy(weights.astype(np.float32))


def thinned_log_odds(cohort: Cohort, imbalance: str) -> Tensor | None:
    """What is added to the logits in the loss of a thinned epoch: (class,), or None.

    A thinned epoch shows the most frequent class four times as rarely as it is. With this in the
    loss alone, the network's own probabilities are those of all beats, not of the thinned ones.
    Source: Menon et al. 2021, Long-tail learning via logit adjustment, arXiv:2007.07314.
    """
    if imbalance != "thinned":
        return None
    counts = (cohort.labels[trainable_examples(cohort)] == 1).sum(axis=0)
    added = torch.zeros(len(counts))
    if counts.any():
        added[int(counts.argmax())] = math.log(THINNED_SHARE)
    return added


def focal_exponent(imbalance: str) -> float:
    """Exponent with which the loss gives less weight to examples that are already right."""
    return FOCAL_EXPONENT if imbalance == "focal" else 0.0
