"""Remedies for rare classes: which examples an epoch takes, and how much each one counts.

docs/results.md shows which of these helped; for heartbeats the default is the one that did.
Examples that a remedy adds are made in `fl/training/added_examples.py`.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl.data.cohort import Cohort, Indices

THINNED_SHARE = 0.25  # share of the most frequent class that a thinned epoch takes
MAX_WEIGHT = 10.0  # largest class weight: a class of eight examples must not outweigh the rest
# How many times as often as in the recordings an example may be drawn, and how many times as rarely
# a class may be taken: eight beats of one patient must not be half of an epoch, nor all of it.
MOST_COPIES = 10.0
FOCAL_EXPONENT = 2.0  # of the focal loss (Lin et al. 2017, arXiv:1708.02002)

Rates = NDArray[np.float64]  # (group,) how often an epoch takes each example of the group


def _all(order: Indices, groups: Indices, rng: np.random.Generator) -> Indices:
    return order


def _thinned(order: Indices, groups: Indices, rng: np.random.Generator) -> Indices:
    """All examples of the rarer classes and a random quarter of the most frequent class.

    All examples where the draw would leave none, as it can at a site with very few.
    """
    if not len(order):
        return order
    most_frequent = groups == np.bincount(groups).argmax()
    kept: Indices = order[~most_frequent | (rng.random(len(order)) < THINNED_SHARE)]
    return kept if len(kept) else order


def _balanced(order: Indices, groups: Indices, rng: np.random.Generator) -> Indices:
    """Every class equally often, with replacement; as many examples as a thinned epoch has.

    At least one, however few the site has.
    """
    if not len(order):
        return order
    counts = np.bincount(groups)
    size = max(1, round(len(order) - (1 - THINNED_SHARE) * counts.max()))
    share = (1 / counts[groups]) / np.count_nonzero(counts)
    return np.asarray(rng.choice(order, size=size, p=share / share.sum()), dtype=np.int64)


def _oversampled(order: Indices, groups: Indices, rng: np.random.Generator) -> Indices:
    """All examples, and those of rarer groups again, drawn with replacement.

    Until each group is as frequent as the most frequent one, or has ten times its own number.
    """
    if not len(order):
        return order
    counts = np.bincount(groups)
    more = np.rint((oversampling_rates(counts) - 1) * counts).astype(int)
    again = [rng.choice(order[groups == g], size=more[g]) for g in np.flatnonzero(more)]
    return rng.permutation(np.concatenate([order, *again]))


def _undersampled(order: Indices, groups: Indices, rng: np.random.Generator) -> Indices:
    """As many random examples of each group as the rarest has, but at least a tenth of its own.

    At least one of each; other ones in every epoch, because the order is random.
    """
    if not len(order):
        return order
    counts = np.bincount(groups)
    kept = np.maximum(np.rint(undersampling_rates(counts) * counts), 1)
    by_group = np.argsort(groups, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_group] = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
    return np.asarray(order[rank < kept[groups]])


def oversampling_rates(counts: Indices) -> Rates:
    """How many times as often an oversampled epoch has each group: (group,), 1 to 10."""
    rates = counts.max(initial=0) / np.maximum(counts, 1)
    return np.where(counts > 0, np.minimum(rates, MOST_COPIES), 1.0)


def undersampling_rates(counts: Indices) -> Rates:
    """Share of each group that an undersampled epoch has: (group,), .1 to 1."""
    rarest = counts[counts > 0].min(initial=counts.max(initial=0))
    return np.where(counts > 0, np.clip(rarest / np.maximum(counts, 1), 1 / MOST_COPIES, 1.0), 1.0)


def _thinning_rates(counts: Indices) -> Rates:
    rates = np.ones(len(counts))
    if counts.any():
        rates[int(counts.argmax())] = THINNED_SHARE
    return rates


# (examples in order, group of each, random numbers) -> the examples that the epoch takes. A group
# is a class: see `sampling_groups`.
Sampler = Callable[[Indices, Indices, np.random.Generator], Indices]
IMBALANCE: dict[str, Sampler] = {
    "none": _all,
    "thinned": _thinned,
    "balanced": _balanced,
    "oversampled": _oversampled,
    "undersampled": _undersampled,
    "smote": _all,  # of a cohort to which interpolated beats were added
    "weighted": _all,
    "focal": _all,
}
# Of the remedies that choose examples by class, those that also work where an example may have any
# number of classes.
FOR_ANY_TASK = frozenset({"oversampled", "undersampled"})
# The remedies whose effect on the probabilities is taken back: see `added_log_odds`.
_RATES: dict[str, Callable[[Indices], Rates]] = {
    "thinned": _thinning_rates,
    "oversampled": oversampling_rates,
    "undersampled": undersampling_rates,
}
_CORRECTED = frozenset({*_RATES, "smote"})
_NOT_CORRECTED = frozenset({"balanced"})  # it is meant to learn from equal shares


def trainable_examples(cohort: Cohort) -> Indices:
    """Indices of the examples that may be trained on: those of the task's trainable classes."""
    task = cohort.task
    if not task.exclusive:
        return np.arange(len(cohort))
    columns = [task.classes.index(c) for c in task.trainable]
    return np.flatnonzero((cohort.labels[:, columns] == 1).any(axis=1))


def sampling_groups(cohort: Cohort) -> Indices:
    """The group by which each example is drawn: (example,) a class, or the number of classes.

    Where an example has one class, that class. Where it may have several, the rarest of them at
    this site, and a group of its own for those that show none.
    """
    if cohort.task.exclusive:
        return np.asarray(cohort.labels.argmax(axis=1), dtype=np.int64)
    shown = cohort.labels == 1
    rarest_first = np.argsort(shown.sum(axis=0), kind="stable")
    group = rarest_first[shown[:, rarest_first].argmax(axis=1)]
    return np.asarray(np.where(shown.any(axis=1), group, shown.shape[1]), dtype=np.int64)


def epoch_order(
    cohort: Cohort, imbalance: str, per_recording: int, rng: np.random.Generator
) -> Indices:
    """The examples of one epoch, in order: (example,) indices.

    Where an example may have several classes, only some remedies choose examples by class.
    """
    order = cohort.epoch(per_recording, rng)
    if not cohort.task.exclusive:
        if imbalance not in FOR_ANY_TASK:
            return order
    else:
        order = order[np.isin(order, trainable_examples(cohort))]
    return IMBALANCE[imbalance](order, sampling_groups(cohort)[order], rng)


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


def added_log_odds(
    cohort: Cohort, imbalance: str, per_recording: int = 0, own: int | None = None
) -> Tensor | None:
    """What is added to the logits in the loss of an epoch: (class,), or None for nothing.

    A thinned epoch shows the most frequent class four times as rarely as it is, and an oversampled
    one a rare class up to ten times as often. With the logarithm of that factor in the loss alone,
    the network's own probabilities are those of all examples, not of the chosen ones. Source:
    Menon et al. 2021, Long-tail learning via logit adjustment, arXiv:2007.07314. Exact where an
    example has one class. Where it may have several, a class's factor is that of its odds (how
    much more often the epoch has its positives, over the same for its negatives), which is exact
    only if the draw depends on nothing else that tells the class.

    `own` is the number of the site's own examples, which come first; those after it were added
    and count as drawn too. A class of which the site has none counts as if it had one.
    """
    own = len(cohort) if own is None else own
    if imbalance not in _CORRECTED and (own == len(cohort) or imbalance in _NOT_CORRECTED):
        return None
    examples = trainable_examples(cohort)
    labels = cohort.labels[examples]
    plain = cohort.take(np.arange(own)).epoch_weights(per_recording)
    before = np.zeros(len(cohort))
    before[:own] = plain
    taken = plain if own == len(cohort) else cohort.epoch_weights(per_recording)
    if imbalance in _RATES:
        groups = sampling_groups(cohort)
        counts = np.bincount(groups[examples], minlength=labels.shape[1] + 1)
        taken = taken * _RATES[imbalance](counts)[groups]
    factor = _times_as_often(labels == 1, before[examples], taken[examples])
    if not cohort.task.exclusive:
        factor = factor / _times_as_often(labels == 0, before[examples], taken[examples])
    return torch.from_numpy(np.log(factor).astype(np.float32))


def _times_as_often(marked: NDArray[np.bool_], before: Rates, taken: Rates) -> Rates:
    """How often an epoch takes the marked examples, over how often it would: (class,)."""
    usual, now = before @ marked, taken @ marked
    return np.where(now > 0, now / np.where(usual > 0, usual, 1.0), 1.0)


def focal_exponent(imbalance: str) -> float:
    """Exponent with which the loss gives less weight to examples that are already right."""
    return FOCAL_EXPONENT if imbalance == "focal" else 0.0
