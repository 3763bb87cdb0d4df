"""Changes to training batches that leave the diagnosis as it is. Each can be switched off."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fl.cohort import Batch
from fl.tasks import Task

Change = Callable[[Batch, Task, np.random.Generator], Batch]

DROPPED = 0.5  # share of examples that lose leads
GAIN = 0.15  # standard deviation of the log of the gain
NOISE = 0.1  # largest standard deviation of added noise, in standard deviations of the lead
FEATURE_NOISE = 0.1  # standard deviation, in units of the feature
WANDER = 0.3  # largest amplitude of added baseline wander, likewise


def lead_dropout(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Half the examples keep a random number of their leads, as if the rest were not recorded.

    A model that has seen twelve leads and one lead apart learns little from the one for the
    other; one that has seen the same recording with twelve, five and one does.
    """
    mask = batch.lead_mask.numpy()
    n, leads = mask.shape
    keep = rng.integers(1, leads + 1, size=n)
    keep[rng.random(n) >= DROPPED] = leads
    # Recorded leads first in a random order; the first `keep` of them stay.
    rank = np.argsort(np.argsort(rng.random(mask.shape) - mask, axis=1), axis=1)
    kept = torch.from_numpy((mask * (rank < keep[:, None])).astype(np.float32))
    return replace(batch, lead_mask=kept, signal=batch.signal * kept[:, :, None])


def gain(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each lead of each example a little larger or smaller."""
    factor = np.exp(rng.normal(0, GAIN, size=batch.lead_mask.shape)).astype(np.float32)
    return replace(batch, signal=batch.signal * torch.from_numpy(factor)[:, :, None])


def noise(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """White noise of a random strength per example."""
    strength = rng.uniform(0, NOISE, size=(len(batch.signal), 1, 1)).astype(np.float32)
    white = rng.standard_normal(batch.signal.shape, dtype=np.float32)
    return _added(batch, torch.from_numpy(strength * white))


def wander(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """A slow sine on each lead, 0.1 to 0.6 Hz, of a random amplitude and phase."""
    shape = (*batch.lead_mask.shape, 1)
    t = np.arange(batch.signal.shape[2], dtype=np.float32) / task.fs
    cycles = rng.uniform(0.1, 0.6, size=(shape[0], 1, 1)).astype(np.float32) * t
    phase = rng.random(shape, dtype=np.float32)
    height = (WANDER * rng.random(shape, dtype=np.float32)).astype(np.float32)
    return _added(batch, torch.from_numpy(height * np.sin(2 * np.pi * (cycles + phase))))


def feature_noise(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """A little noise on each feature, so that no threshold is learnt to the last digit."""
    white = rng.standard_normal(batch.features.shape, dtype=np.float32)
    return replace(batch, features=batch.features + FEATURE_NOISE * torch.from_numpy(white))


AUGMENTATIONS: dict[str, Change] = {
    "lead_dropout": lead_dropout,
    "gain": gain,
    "noise": noise,
    "wander": wander,
    "feature_noise": feature_noise,
}


def augmented(batch: Batch, task: Task, names: tuple[str, ...], rng: np.random.Generator) -> Batch:
    """The batch after the named changes, in the table's order."""
    for name, change in AUGMENTATIONS.items():
        if name in names:
            batch = change(batch, task, rng)
    return batch


def _added(batch: Batch, what: Tensor) -> Batch:
    """Something added to the recorded leads; a missing lead stays zero."""
    return replace(batch, signal=batch.signal + what * batch.lead_mask[:, :, None])
