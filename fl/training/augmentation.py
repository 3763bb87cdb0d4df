"""Changes to training batches that leave the diagnosis as it is. Each can be switched off."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl.data.cohort import Batch
from fl.ecg.tasks import Task
from fl.util.gpu_memory import to_device

Augmentation = Callable[[Batch, Task, np.random.Generator], Batch]

DROPPED = 0.5  # share of examples that lose leads
GAIN = 0.15  # standard deviation of the log of the gain
NOISE = 0.1  # largest standard deviation of added noise, in standard deviations of the lead
FEATURE_NOISE = 0.1  # standard deviation, in units of the feature
STRETCH = 0.15  # largest change of the time scale, as a share
BLANK = 0.3  # longest stretch of time that is blanked, as a share of the crop
MIXED = 0.3  # both parameters of mixup's Beta distribution
WANDER = 0.3  # largest amplitude of added baseline wander, likewise


def lead_dropout(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Half the examples keep a random number of their leads, as if the rest were not recorded.

    A model that has seen twelve leads and one lead apart learns little from the one for the
    other; one that has seen the same recording with twelve, five and one does.
    """
    mask = batch.lead_mask
    n, leads = mask.shape
    keep = rng.integers(1, leads + 1, size=n)
    keep[rng.random(n) >= DROPPED] = leads
    # Recorded leads first in a random order; the first `keep` of them stay.
    order = _beside(batch, rng.random((n, leads))) - mask
    kept = mask * (order.argsort(dim=1).argsort(dim=1) < _beside(batch, keep[:, None]))
    return replace(batch, lead_mask=kept, signal=batch.signal * kept[:, :, None])


def gain(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each lead of each example a little larger or smaller."""
    factor = np.exp(rng.normal(0, GAIN, size=batch.lead_mask.shape)).astype(np.float32)
    return replace(batch, signal=batch.signal * _beside(batch, factor)[:, :, None])


def noise(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """White noise of a random strength per example."""
    strength = rng.uniform(0, NOISE, size=(len(batch.signal), 1)).astype(np.float32)
    strengths = _beside(batch, strength).expand_as(batch.lead_mask)
    # Torch draws normal numbers twice as fast as NumPy, and a GPU its own.
    drawn = torch.Generator(batch.signal.device).manual_seed(int(rng.integers(2**63 - 1)))
    white = _white_everywhere if batch.signal.is_cuda else _white_where_recorded
    return replace(batch, signal=white(batch, strengths, drawn))


def _white_where_recorded(batch: Batch, strengths: Tensor, drawn: torch.Generator) -> Tensor:
    """The signal and noise on the recorded leads; none is drawn for the others."""
    recorded = batch.lead_mask > 0
    white = torch.randn(int(recorded.sum()), batch.signal.shape[2], generator=drawn)
    signal = batch.signal.clone()
    signal[recorded] += white * strengths[recorded][:, None]
    return signal


def _white_everywhere(batch: Batch, strengths: Tensor, drawn: torch.Generator) -> Tensor:
    """The same with other numbers: to count the recorded leads, the host would wait for a GPU."""
    white = torch.randn(batch.signal.shape, generator=drawn, device=batch.signal.device)
    return batch.signal + white * (strengths * batch.lead_mask)[:, :, None]


def wander(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """A slow sine on each lead, 0.1 to 0.6 Hz, of a random amplitude and phase."""
    shape = (*batch.lead_mask.shape, 1)
    t = np.arange(batch.signal.shape[2], dtype=np.float32) / task.fs
    rate = rng.uniform(0.1, 0.6, size=(shape[0], 1, 1)).astype(np.float32)
    phase = rng.random(shape, dtype=np.float32)
    height = (WANDER * rng.random(shape, dtype=np.float32)).astype(np.float32)
    turns = _beside(batch, rate) * _beside(batch, t) + _beside(batch, phase)
    return _added(batch, _beside(batch, height) * _sine(2 * np.pi * turns))


def stretch(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each example a little faster or slower: another heart rate, the same waves."""
    n, _, samples = batch.signal.shape
    rate = np.exp(rng.uniform(-STRETCH, STRETCH, size=(n, 1)))
    middle = (samples - 1) / 2
    at = np.abs(middle + (np.arange(samples) - middle) * rate)
    at = (samples - 1) - np.abs((samples - 1) - at)  # mirrored where the crop ends
    left = np.clip(at.astype(np.int64), 0, samples - 2)
    part = _beside(batch, (at - left).astype(np.float32))[:, None, :]
    index = _beside(batch, left)[:, None, :].expand_as(batch.signal)
    one, other = batch.signal.gather(2, index), batch.signal.gather(2, index + 1)
    return replace(batch, signal=one + part * (other - one))


def blank(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """A stretch of time of each example is flat, so that the rest must do."""
    n, _, samples = batch.signal.shape
    length = rng.uniform(0, BLANK, size=(n, 1)) * samples
    start = rng.uniform(size=(n, 1)) * (samples - length)
    time = np.arange(samples)
    kept = (time < start) | (time >= start + length)
    return replace(batch, signal=batch.signal * _beside(batch, kept[:, None, :]))


def mixup(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each example is mixed with another one, its labels likewise.

    A class counts only where both annotate it, a lead where either recorded it. Source: Zhang et
    al. 2018, arXiv:1710.09412.
    """
    n = len(batch.signal)
    drawn = rng.beta(MIXED, MIXED, size=n).astype(np.float32)
    share = _beside(batch, np.maximum(drawn, 1 - drawn))  # it stays mostly itself
    other = _beside(batch, rng.permutation(n))
    a, b = share[:, None, None], share[:, None]
    known = (batch.labels >= 0) & (batch.labels[other] >= 0)
    labels = b * batch.labels + (1 - b) * batch.labels[other]
    return replace(
        batch,
        signal=a * batch.signal + (1 - a) * batch.signal[other],
        lead_mask=torch.maximum(batch.lead_mask, batch.lead_mask[other]),
        labels=torch.where(known, labels, batch.labels),
    )


def feature_noise(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """A little noise on each feature, so that no threshold is learnt to the last digit."""
    white = rng.standard_normal(batch.features.shape, dtype=np.float32)
    return replace(batch, features=batch.features + FEATURE_NOISE * _beside(batch, white))


AUGMENTATIONS: dict[str, Augmentation] = {
    "lead_dropout": lead_dropout,
    "gain": gain,
    "noise": noise,
    "wander": wander,
    "feature_noise": feature_noise,
    "stretch": stretch,
    "blank": blank,
    "mixup": mixup,
}


def augment_batch(
    batch: Batch, task: Task, names: tuple[str, ...], rng: np.random.Generator
) -> Batch:
    """The batch after the named changes, in the table's order."""
    for name, change in AUGMENTATIONS.items():
        if name in names:
            batch = change(batch, task, rng)
    return batch


def _beside(batch: Batch, drawn: NDArray[Any]) -> Tensor:
    """What was drawn, on the batch's device: the same numbers wherever a network is trained."""
    return to_device(drawn, batch.signal.device)


def _sine(angle: Tensor) -> Tensor:
    # NumPy's and torch's differ in the last bit, and results on a CPU are to stay as they were.
    return angle.sin() if angle.is_cuda else torch.from_numpy(np.sin(angle.numpy()))


def _added(batch: Batch, what: Tensor) -> Batch:
    """Something added to the recorded leads; a missing lead stays zero."""
    return replace(batch, signal=batch.signal + what * batch.lead_mask[:, :, None])
