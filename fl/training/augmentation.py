"""Random changes to training batches that keep the diagnosis. Each can be switched off.

Every augmentation maps (batch, task, random generator) to a changed batch. A missing lead stays
zero, and so do the zeros with which an example is padded.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fl.data.cohort import Batch
from fl.ecg.rhythm.features import lead_columns
from fl.ecg.tasks import Task
from fl.util.errors import ConfigError, require_known
from fl.util.gpu_memory import to_device

Augmentation = Callable[[Batch, Task, np.random.Generator], Batch]

DROPPED = 0.5  # share of examples that lose leads
GAIN = 0.15  # standard deviation of the log of the gain
NOISE = 0.1  # largest standard deviation of added noise, in standard deviations of the lead
FEATURE_NOISE = 0.1  # standard deviation, in units of the feature
STRETCH = 0.15  # largest change of the time scale, as a share
QRS = 0.11  # s over which the slope is averaged, about the width of a QRS complex
STEEP = 0.2  # of the steepest slope: above it a QRS begins, at twice as much it is one
BLANK = 0.3  # longest stretch of time that is blanked, as a share of the crop
MIXED = 0.3  # both parameters of mixup's Beta distribution
CROP = 0.75  # of the width and of the height of a beat's picture
SHIFT = 3  # samples; 33 ms of a beat, about what a detector is off at most
WANDER = 0.3  # largest amplitude of added baseline wander, in standard deviations of the lead


def lead_dropout(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Half the examples keep a random number of their leads, as if the rest were not recorded.

    A model that sees twelve-lead and one-lead recordings only separately learns little from one
    kind for the other. A model that sees the same recording with twelve, five and one lead does.
    """
    mask = batch.lead_mask
    n, leads = mask.shape
    keep = rng.integers(1, leads + 1, size=n)
    keep[rng.random(n) >= DROPPED] = leads
    # Recorded leads first in a random order; the first `keep` of them stay.
    order = _on_device_of(batch, rng.random((n, leads))) - mask
    kept = mask * (order.argsort(dim=1).argsort(dim=1) < _on_device_of(batch, keep[:, None]))
    features = _features_of_leads(batch, task, kept)
    return replace(batch, lead_mask=kept, signal=batch.signal * kept[:, :, None], features=features)


def _features_of_leads(batch: Batch, task: Task, kept: Tensor) -> Tensor:
    """The features, 0 (not known) where they are measured in a lead that is not in `kept`."""
    if not task.feature_groups:
        return batch.features
    recorded = torch.cat([kept, torch.ones_like(kept[:, :1])], dim=1)
    columns = to_device(lead_columns(task.features), kept.device)
    return batch.features * recorded.index_select(1, columns)


def gain(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each lead of each example becomes a little larger or smaller."""
    factor = np.exp(rng.normal(0, GAIN, size=batch.lead_mask.shape)).astype(np.float32)
    return replace(batch, signal=batch.signal * _on_device_of(batch, factor)[:, :, None])


def noise(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """White noise of a random strength is added to each example."""
    strength = rng.uniform(0, NOISE * task.spread, size=(len(batch.signal), 1)).astype(np.float32)
    strengths = _on_device_of(batch, strength).expand_as(batch.lead_mask)
    # Torch draws normal numbers twice as fast as NumPy, and a GPU draws its own.
    generator = torch.Generator(batch.signal.device).manual_seed(int(rng.integers(2**63 - 1)))
    add_noise = _add_noise_to_all if batch.signal.is_cuda else _add_noise_to_recorded
    return replace(batch, signal=add_noise(batch, strengths, generator))


def _add_noise_to_recorded(batch: Batch, strengths: Tensor, generator: torch.Generator) -> Tensor:
    """The signal with noise on the recorded leads; no noise is drawn for the others."""
    recorded = batch.lead_mask > 0
    white = torch.randn(int(recorded.sum()), batch.signal.shape[2], generator=generator)
    signal = batch.signal.clone()
    signal[recorded] += white * strengths[recorded][:, None]
    return signal


def _add_noise_to_all(batch: Batch, strengths: Tensor, generator: torch.Generator) -> Tensor:
    """The same, but noise is drawn for every lead and then masked.

    To count the recorded leads first, the host would have to wait for the GPU.
    """
    white = torch.randn(batch.signal.shape, generator=generator, device=batch.signal.device)
    return batch.signal + white * (strengths * batch.lead_mask)[:, :, None]


def wander(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """A slow sine of 0.1 to 0.6 Hz is added to each lead, of random amplitude and phase."""
    shape = (*batch.lead_mask.shape, 1)
    t = np.arange(batch.signal.shape[2], dtype=np.float32) / task.fs
    rate = rng.uniform(0.1, 0.6, size=(shape[0], 1, 1)).astype(np.float32)
    phase = rng.random(shape, dtype=np.float32)
    height = (WANDER * task.spread * rng.random(shape, dtype=np.float32)).astype(np.float32)
    cycles = _on_device_of(batch, rate) * _on_device_of(batch, t) + _on_device_of(batch, phase)
    return _add(batch, _on_device_of(batch, height) * _sine(2 * np.pi * cycles))


def stretch(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each example becomes a little faster or slower: another heart rate, and all waves with it."""
    n, _, samples = batch.signal.shape
    rate = np.exp(rng.uniform(-STRETCH, STRETCH, size=(n, 1)))
    middle = (samples - 1) / 2
    position = middle + (np.arange(samples) - middle) * rate
    mirrored = _mirrored(_on_device_of(batch, position), samples)
    return replace(batch, signal=_read_at(batch.signal, mirrored))


def beat_stretch(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each heart beats a little faster or slower, and every QRS complex keeps its width.

    A wide QRS is a finding by itself (bundle branch block, ventricular beats), so `stretch` blurs
    what tells these classes. Here time runs at its own pace where the leads change fast, and at
    the changed one elsewhere. No beat is detected: in a crop whose steepest part is an artefact,
    QRS complexes may be taken for something else and stretched too, by at most `STRETCH`.
    """
    n, _, samples = batch.signal.shape
    margin, middle = samples // 8, samples // 8 + samples // 2
    rate = _on_device_of(batch, np.exp(rng.uniform(-STRETCH, STRETCH, size=(n, 1))))
    steep = F.pad(batch.signal.diff(dim=2).abs().sum(dim=1), (0, 1))
    width = round(QRS * task.fs) | 1
    mean = F.avg_pool1d(steep[:, None], width, stride=1, padding=width // 2)
    level = mean[:, 0] / mean[:, 0].amax(dim=1, keepdim=True).clamp(min=1e-6)
    in_qrs = ((level - STEEP) / STEEP).clamp(0, 1).double()
    pace = F.pad((1 + (rate - 1) * (1 - in_qrs))[:, None], (margin,) * 2, "reflect")
    # Whole numbers, whose sum is the same in any order: a GPU adds in no fixed one.
    when = (2**20 / pace[:, 0]).round().long().cumsum(dim=1)
    when = when - when[:, middle : middle + 1]
    wanted = (torch.arange(samples, device=when.device) - samples // 2) * 2**20
    after = torch.searchsorted(when, wanted.expand(n, samples).contiguous(), right=True)
    after = after.clamp(1, when.shape[1] - 1)
    start, end = when.gather(1, after - 1), when.gather(1, after)
    position = (after - 1 - margin) + (wanted - start).double() / (end - start)
    return replace(batch, signal=_read_at(batch.signal, _mirrored(position, samples)))


def _mirrored(position: Tensor, samples: int) -> Tensor:
    """Positions beyond an end of a crop, mirrored there: (batch, sample) -> the same."""
    return (samples - 1) - ((samples - 1) - position.abs()).abs()


def _read_at(signal: Tensor, position: Tensor) -> Tensor:
    """Each lead at these positions, with straight lines between its samples.

    signal (batch, lead, sample) float32, position (batch, sample) float64 -> like signal.
    """
    left = position.long().clamp(0, signal.shape[2] - 2)
    share = (position - left).float()[:, None, :]
    index = left[:, None, :].expand_as(signal)
    before, after = signal.gather(2, index), signal.gather(2, index + 1)
    return before + share * (after - before)


def blank(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """A stretch of time of each example is set to zero, so that the network uses the rest too."""
    n, _, samples = batch.signal.shape
    length = rng.uniform(0, BLANK, size=(n, 1)) * samples
    start = rng.uniform(size=(n, 1)) * (samples - length)
    time = np.arange(samples)
    kept = (time < start) | (time >= start + length)
    return replace(batch, signal=batch.signal * _on_device_of(batch, kept[:, None, :]))


def mixup(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each example is mixed with another one, and its features and labels in the same proportion.

    A class is annotated in the mixture only if it is in both: what the other half shows is not
    known otherwise. A lead is recorded where either recorded it. Labels become fractions, which
    only tasks with any number of classes per example can be trained on: see
    `check_augmentations`. Source: Zhang et al. 2018, arXiv:1710.09412.
    """
    n = len(batch.signal)
    drawn = rng.beta(MIXED, MIXED, size=n).astype(np.float32)
    share = _on_device_of(batch, np.maximum(drawn, 1 - drawn))  # at least half the example's own
    other = _on_device_of(batch, rng.permutation(n))
    a, b = share[:, None, None], share[:, None]
    known = (batch.labels >= 0) & (batch.labels[other] >= 0)
    labels = b * batch.labels + (1 - b) * batch.labels[other]
    return replace(
        batch,
        signal=a * batch.signal + (1 - a) * batch.signal[other],
        lead_mask=torch.maximum(batch.lead_mask, batch.lead_mask[other]),
        features=b * batch.features + (1 - b) * batch.features[other],
        labels=torch.where(known, labels, torch.full_like(labels, -1)),
    )


def feature_noise(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """A little noise is added to each feature, so that no threshold is learnt too exactly."""
    white = rng.standard_normal(batch.features.shape, dtype=np.float32)
    return replace(batch, features=batch.features + FEATURE_NOISE * _on_device_of(batch, white))


def detector(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Half the examples have the features of R peaks that a detector found, with its errors.

    A network that is trained on annotated peaks alone relies on intervals that are exact to the
    sample, which no detector gives. Nothing changes where the examples have no such features.
    """
    changed = batch.detector_features
    if not changed.shape[1]:
        return batch
    chosen = _on_device_of(batch, rng.random((len(changed), 1)) < 0.5)
    return replace(batch, features=torch.where(chosen, changed, batch.features))


def crops(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each abnormal beat is shown whole or as one of nine crops of its picture, at random.

    A crop has three quarters of the width and of the height, at a corner, an edge or the centre,
    and is enlarged to the whole size. Source: Jun et al. 2018, arXiv:1804.06812, who crop 96 x 96
    of 128 x 128 pixels. We crop the line before it is drawn, so that it stays one pixel thick: the
    same stretch of time and of amplitude then fills the signal's range.
    """
    n, _, samples = batch.signal.shape
    view = rng.integers(0, 10, size=n)  # 0: the whole beat
    column, row = (view - 1) % 3, (view - 1) // 3
    place = (column / 8)[:, None] + CROP * np.arange(samples) / (samples - 1)
    position = _on_device_of(batch, place * (samples - 1))
    shift = _on_device_of(batch, ((row - 1) * (1 / CROP - 1)).astype(np.float32))[:, None, None]
    recorded = batch.lead_mask[:, :, None]
    cropped = (_read_at(batch.signal, position) / CROP + shift) * recorded
    abnormal = batch.labels.argmax(dim=1) != task.classes.index(task.otherwise)
    chosen = abnormal & _on_device_of(batch, view > 0)
    return replace(batch, signal=torch.where(chosen[:, None, None], cropped, batch.signal))


def shift(batch: Batch, task: Task, rng: np.random.Generator) -> Batch:
    """Each beat moves by up to three samples, as if its R peak were found early or late.

    The sample at the edge is repeated. The features stay: `detector` changes those.
    """
    n, _, samples = batch.signal.shape
    moved = rng.integers(-SHIFT, SHIFT + 1, size=(n, 1))
    position = (np.arange(samples) - moved).clip(0, samples - 1)
    index = _on_device_of(batch, position)[:, None, :].expand_as(batch.signal)
    return replace(batch, signal=batch.signal.gather(2, index))


AUGMENTATIONS: dict[str, Augmentation] = {
    "lead_dropout": lead_dropout,
    "gain": gain,
    "noise": noise,
    "wander": wander,
    "detector": detector,
    "feature_noise": feature_noise,
    "stretch": stretch,
    "beat_stretch": beat_stretch,
    "blank": blank,
    "mixup": mixup,
    "crops": crops,
    "shift": shift,
}


# Augmentations that make labels fractions: the loss of a task with one class per example takes
# the largest label for the class, so a mixed example would be trained as one of its two parts.
MIXES_LABELS = frozenset({"mixup"})
# Augmentations that move waves in time: of a cut that begins at an R peak and ends in zeros,
# nothing would be left that is where it should be.
MOVES_TIME = frozenset({"stretch", "beat_stretch"})
# Augmentations of the time between heartbeats: an example that is one heartbeat has none.
BETWEEN_BEATS = frozenset({"beat_stretch"})
# Augmentations of a beat that is drawn as a picture.
OF_PICTURES = frozenset({"crops"})
# Augmentations of a beat around its R peak. A recording is cropped at random places as it is.
BEATS_ALONE = frozenset({"shift"})


def check_augmentations(names: Sequence[str], task: Task) -> None:
    """`ConfigError` if a name is not in AUGMENTATIONS or does not work with the task."""
    for name in names:
        require_known(name, AUGMENTATIONS, "--augment")
        if trouble := _trouble(name, task):
            accepted = ", ".join(other for other in AUGMENTATIONS if not _trouble(other, task))
            raise ConfigError(
                f"--augment names {name!r}, {trouble}. Accepted for this task: {accepted}."
            )


def _trouble(name: str, task: Task) -> str:
    """Why an augmentation does not work with the task; "" if it does."""
    if name in OF_PICTURES and not task.whole_beats:
        return (
            "which shows parts of the picture of a heartbeat, but the "
            f"{task.name} task has no such pictures"
        )
    if name in BEATS_ALONE and not (task.exclusive and task.features):
        return (
            f"which moves a heartbeat, but the {task.name} task does not read heartbeats around "
            "their R peak"
        )
    if name in BETWEEN_BEATS and (task.whole_beats or (task.exclusive and task.features)):
        return (
            "which changes the time between heartbeats, but every example of the "
            f"{task.name} task is one heartbeat"
        )
    if name in MIXES_LABELS and task.exclusive:
        return (
            f"which mixes the labels of two examples, but every example of the {task.name} task "
            "has exactly one class"
        )
    if name in MOVES_TIME and task.padded:
        return (
            f"which moves waves in time, but every example of the {task.name} task begins at an R "
            "peak and ends in zeros"
        )
    return ""


def augment_batch(
    batch: Batch, task: Task, names: tuple[str, ...], rng: np.random.Generator
) -> Batch:
    """The batch after the named augmentations, in the order of AUGMENTATIONS."""
    signal = _signal_not_padding(batch) if task.padded else None
    for name, augment in AUGMENTATIONS.items():
        if name in names:
            batch = augment(batch, task, rng)
    return batch if signal is None else replace(batch, signal=batch.signal * signal)


def _signal_not_padding(batch: Batch) -> Tensor:
    """1 up to the last sample of an example that is not zero, 0 after it: (batch, lead, sample)."""
    later = (batch.signal != 0).flip(2).cummax(dim=2).values.flip(2)
    return later.to(batch.signal.dtype)


def _on_device_of(batch: Batch, drawn: NDArray[Any]) -> Tensor:
    """Numbers drawn on the host, moved to the batch's device: the same numbers on any device."""
    return to_device(drawn, batch.signal.device)


def _sine(angle: Tensor) -> Tensor:
    # NumPy and torch differ in the last bit, and results on a CPU must not change.
    return angle.sin() if angle.is_cuda else torch.from_numpy(np.sin(angle.numpy()))


def _add(batch: Batch, disturbance: Tensor) -> Batch:
    """The batch with a disturbance added to its recorded leads."""
    return replace(batch, signal=batch.signal + disturbance * batch.lead_mask[:, :, None])
