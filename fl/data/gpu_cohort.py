"""A cohort's recordings in the memory of a GPU, and batches made there.

The host sends only the numbers of the examples and where their crops start; the rest are index
operations over the whole batch.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fl.data.cohort import Batch, Cohort, Indices
from fl.data.shards import SIGNALS
from fl.util.gpu_memory import free_gpu_memory, to_device

SHARE = 0.5  # of the free memory that recordings may take; the rest is for training
PIECE = 16 * 2**20  # samples that are copied at once
BatchMaker = Callable[[Indices, Indices], Batch]  # examples, starts -> batch


def batch_maker(cohort: Cohort, device: str, signals: bool = True) -> BatchMaker:
    """A function that makes the cohort's batches, as `Cohort.batch` does, on a device.

    Without `signals`, for networks that read features alone, batches have empty signals.
    """
    target = torch.device(device)
    make = cohort.batch if signals else cohort.batch_without_signals
    if target.type == "cpu":
        return make
    gpu_cohort = GpuCohort.of(cohort, target) if signals else None
    if gpu_cohort is not None:
        return gpu_cohort.batch
    return lambda indices, starts: make(indices, starts).to(target)


@dataclass(frozen=True, kw_only=True)
class GpuCohort:
    """A cohort with everything that a batch needs on one device."""

    signals: Tensor  # (sample,) float16, of all shards
    lead_positions: Tensor  # (example, lead) int64, in `signals`, of a lead's first sample
    lengths: Tensor  # (example,) int64, samples per lead
    sample_numbers: Tensor  # (sample,) int64, 0, 1, ... of a crop
    lead_mask: Tensor  # (example, lead) float32
    features: Tensor  # (example, feature) float32
    labels: Tensor  # (example, class) float32
    detector_features: Tensor  # (example, feature) float32

    @classmethod
    def of(cls, cohort: Cohort, device: torch.device) -> "GpuCohort | None":
        """The cohort on a device; None if its signals must stay on the host.

        They stay there if they are too large, if they are in no cache folder, or if sites have
        recorders of their own, which work with NumPy and SciPy.
        """
        paths = tuple(shard.path for shard in cohort.shards)
        if cohort.has_recorders or Path() in paths:
            return None
        signals = signals_on(device, paths)
        if signals is None:
            return None
        sizes = [len(shard.signals) for shard in cohort.shards]
        begins = np.cumsum([0, *sizes])[:-1]
        positions = cohort.lead_positions + begins[cohort.shard][:, None]
        return cls(
            signals=signals,
            lead_positions=to_device(positions, device),
            lengths=to_device(cohort.lengths, device),
            sample_numbers=torch.arange(cohort.task.samples, device=device),
            lead_mask=to_device(cohort.lead_mask.astype(np.float32), device),
            features=to_device(cohort.features, device),
            labels=to_device(cohort.labels.astype(np.float32), device),
            detector_features=to_device(cohort.detector_features, device),
        )

    def batch(self, indices: Indices, starts: Indices) -> Batch:
        """The same batch as `Cohort.batch`, to the bit."""
        chosen, start = to_device(np.stack([indices, starts]), self.signals.device)
        lead_mask = self.lead_mask[chosen]
        present = lead_mask[:, :, None] > 0
        position = (start[:, None] + self.sample_numbers) % self.lengths[chosen][:, None]
        index = self.lead_positions[chosen][:, :, None] + position[:, None, :]
        # The position of a missing lead has no meaning and may lie beyond the last sample.
        stored = self.signals[torch.where(present, index, 0)]
        return Batch(
            signal=torch.where(present, stored.float(), 0.0),
            lead_mask=lead_mask,
            features=self.features[chosen],
            labels=self.labels[chosen],
            detector_features=self.detector_features[chosen],
        )


# The sites and the server of one process share them. Two sets are kept, as comparing two caches
# needs; a third replaces the oldest.
@lru_cache(maxsize=2)
def signals_on(device: torch.device, paths: tuple[Path, ...]) -> Tensor | None:
    """All samples of these cache folders in one row on the device; None if there is no room."""
    maps = [np.load(path / SIGNALS, mmap_mode="r") for path in paths]
    size, free = sum(map(len, maps)), free_gpu_memory(device)
    needed = size * torch.float16.itemsize
    if needed > SHARE * free:
        logging.getLogger("heartfed").warning(
            "%s: the recordings need %.0f MiB, but they may take %.0f%% of the free %.0f MiB. "
            "They stay in the host's memory, and every batch is sent from there.",
            *(device, needed / 2**20, 100 * SHARE, free / 2**20),
        )
        return None
    row, filled = torch.empty(size, dtype=torch.float16, device=device), 0
    for signals in maps:
        for begin in range(0, len(signals), PIECE):
            piece = torch.from_numpy(np.array(signals[begin : begin + PIECE]))
            row[filled : filled + len(piece)] = piece
            filled += len(piece)
    return row
