"""How much each network of a mixture counts, found on patients that none was trained on.

A patient counts once, however many recordings, windows or beats it has.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fl.data.cohort import Cohort, Indices
from fl.training.class_imbalance import trainable_examples
from fl.training.device import mixed_precision, one_thread
from fl.training.loop import crop_batches, logits_of, mean_over_crops
from fl.training.losses import patient_losses

Floats = NDArray[np.float64]

STEPS = 20  # of the grid: shares are multiples of 1/20
# Patients with which what they say and the prior count alike: chosen on validation patients of a
# seed that no result is of (docs/protocol.md).
SHRINKAGE = 30
FEWEST = 3  # patients; of fewer the shares are the prior's


@dataclass(frozen=True, kw_only=True)
class CropLogits:
    """What several networks say of every crop of a cohort's examples."""

    logits: Floats  # (network, crop, class)
    example: Indices  # (crop,) number of its example


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Shares of the networks, and how the mixture answers patients they were not found on."""

    shares: Floats  # (network,) from all patients; not negative, their sum is one
    p: Floats  # (example, class) with shares from the other patients
    loss: float  # mean over patients of the log loss of `p`; NaN without patients
    loss_of_each: Floats  # (network,) of each network alone


def crop_logits(networks: Sequence[nn.Module], cohort: Cohort, device: str = "cpu") -> CropLogits:
    """The logits that `predict` averages over, of networks that read the same input."""
    one_thread()
    found, examples = [], []
    with torch.inference_mode(), mixed_precision(device, None):
        for network in networks:
            network.to(device).eval()
            parts, examples = [np.zeros((0, len(cohort.task.classes)))], [np.zeros(0, np.int64)]
            for batch, example, used in crop_batches(network, cohort, device=device):
                parts.append(logits_of(network, batch).double().cpu().numpy()[used])
                examples.append(example[used])
            found.append(np.concatenate(parts))
    return CropLogits(logits=np.stack(found), example=np.concatenate(examples))


def mix(read: CropLogits, cohort: Cohort, prior: Floats) -> Mixing:
    """Shares with the lowest log loss of the patients, moved towards the prior where they are few.

    The answer to each patient is from shares found on the others (leave one out), so that
    thresholds, and the choice between the mixture and one network, may use it.
    """
    grid = simplex(len(prior), STEPS)
    losses, counted = _patient_losses(read, cohort, grid)
    total, n = losses.sum(axis=0), int(counted.sum())
    others = [
        shares_of(total - own, n - int(counts), grid, prior)
        for own, counts in zip(losses, counted, strict=True)
    ]
    patient = np.unique(cohort.patients, return_inverse=True)[1]
    of_crop = np.reshape(others, (-1, len(prior)))[patient[read.example]]
    p = _probabilities(read, cohort, of_crop)
    each, _ = _patient_losses(read, cohort, np.eye(len(prior)))
    return Mixing(
        shares=shares_of(total, n, grid, prior),
        p=p,
        loss=_mean(_of_patients(cohort, p)[0], n),
        loss_of_each=np.array([_mean(one, n) for one in each.T]),
    )


def shares_of(total: Floats, n_patients: int, grid: Floats, prior: Floats) -> Floats:
    """The shares that patients lead to: n / (n + SHRINKAGE) of the best ones, and else the prior.

    `total` (point,) is the sum of their losses at each point of `grid` (point, network). Of equally
    good points the nearest to the prior is the best one. Fewer than FEWEST patients say nothing.
    """
    if n_patients < FEWEST:
        return prior
    near = np.lexsort((np.square(grid - prior).sum(axis=1), np.round(total, 9)))[0]
    weight = n_patients / (n_patients + SHRINKAGE)
    return np.asarray(weight * grid[near] + (1 - weight) * prior)


def simplex(networks: int, steps: int) -> Floats:
    """Every way to share `steps` equal parts among networks: (point, network), rows sum to one."""
    cuts = itertools.combinations(range(steps + networks - 1), networks - 1)
    edges = np.array([(-1, *cut, steps + networks - 1) for cut in cuts])
    return np.asarray((np.diff(edges, axis=1) - 1) / steps)


def _patient_losses(
    read: CropLogits, cohort: Cohort, points: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Losses (patient, point) of mixtures, and which patients have one: (patient,)."""
    at_points = [_of_patients(cohort, _probabilities(read, cohort, shares)) for shares in points]
    return np.stack([losses for losses, _ in at_points], axis=1), at_points[0][1]


def _of_patients(cohort: Cohort, p: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Mean loss of each patient's examples, in order of name, and who has an example with a loss.

    An example of a class that training does not use has none.
    """
    rows = trainable_examples(cohort)
    patients = cohort.patients[rows]
    counted = np.isin(np.unique(cohort.patients), patients)
    losses = np.zeros(len(counted))
    losses[counted] = patient_losses(cohort.task, cohort.labels[rows], p[rows], patients)
    return losses, counted


def _probabilities(read: CropLogits, cohort: Cohort, shares: Floats) -> Floats:
    """As `predict` of a mixture: (example, class); shares (network,), or (crop, network)."""
    by_crop = np.broadcast_to(shares, (len(read.example), len(read.logits)))
    logits = torch.from_numpy(np.einsum("cn,nck->ck", by_crop, read.logits))
    p = (logits.softmax(dim=1) if cohort.task.exclusive else logits.sigmoid()).numpy()
    return np.asarray(np.round(mean_over_crops(p, read.example, len(cohort)), 7))


def _mean(losses: Floats, n: int) -> float:
    return float(losses.sum()) / n if n else float("nan")
