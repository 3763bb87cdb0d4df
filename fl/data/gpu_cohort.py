"""A cohort's recordings in the memory of a GPU, and batches cut there.

The host sends which examples and where they start, a few numbers; the rest are index operations
over the whole batch.
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
from fl.data.example_cache import FILES
from fl.util.gpu_memory import free_gpu_memory, to_device

SHARE = 0.5  # of the memory that is left: recordings may take so much, training has the rest
PIECE = 16 * 2**20  # samples that are copied at once
BatchCutter = Callable[[Indices, Indices], Batch]


def batch_maker(cohort: Cohort, device: str) -> BatchCutter:
    """What cuts the cohort's batches for a device: `Cohort.batch`, but the batch is there."""
    there = torch.device(device)
    if there.type == "cpu":
        return cohort.batch
    resident = GpuCohort.of(cohort, there)
    if resident is not None:
        return resident.batch
    return lambda indices, starts: cohort.batch(indices, starts).to(there)


@dataclass(frozen=True, kw_only=True)
class GpuCohort:
    """A cohort of which everything that a batch holds is on one device."""

    signals: Tensor  # (sample,) float16, of all shards
    first: Tensor  # (example, lead) int64, where in `signals` a recorded lead begins
    lengths: Tensor  # (example,) int64, samples per lead
    time: Tensor  # (sample,) int64, of a crop
    lead_mask: Tensor  # (example, lead) float32
    features: Tensor  # (example, feature) float32
    labels: Tensor  # (example, class) float32

    @classmethod
    def of(cls, cohort: Cohort, device: torch.device) -> "GpuCohort | None":
        """The cohort on a device; None if its signals stay on the host.

        They do if they are too large, if they are in no cache folder, and if they pass through
        recorders of the sites' own, which work with NumPy and SciPy.
        """
        paths = tuple(shard.path for shard in cohort.shards)
        if cohort.has_recorders or Path() in paths:
            return None
        signals = signals_on(device, paths)
        if signals is None:
            return None
        first, mask, features = cohort.places
        sizes = [len(shard.signals) for shard in cohort.shards]
        begins = np.cumsum([0, *sizes])[:-1]
        return cls(
            signals=signals,
            first=to_device(first + begins[cohort.shard][:, None], device),
            lengths=to_device(cohort.lengths, device),
            time=torch.arange(cohort.task.samples, device=device),
            lead_mask=to_device(mask.astype(np.float32), device),
            features=to_device(features, device),
            labels=to_device(cohort.labels.astype(np.float32), device),
        )

    def batch(self, indices: Indices, starts: Indices) -> Batch:
        """The same as `Cohort.batch` to the bit."""
        chosen, start = to_device(np.stack([indices, starts]), self.signals.device)
        lead_mask = self.lead_mask[chosen]
        present = lead_mask[:, :, None] > 0
        at = (start[:, None] + self.time) % self.lengths[chosen][:, None]
        index = self.first[chosen][:, :, None] + at[:, None, :]
        # An absent lead has no place: it may be looked for beyond the last sample.
        stored = self.signals[torch.where(present, index, 0)]
        return Batch(
            signal=torch.where(present, stored.float(), 0.0),
            lead_mask=lead_mask,
            features=self.features[chosen],
            labels=self.labels[chosen],
        )


# Sites and server of one process share them. Two, as a comparison of two caches needs; the oldest
# goes when a third comes.
@lru_cache(maxsize=2)
def signals_on(device: torch.device, paths: tuple[Path, ...]) -> Tensor | None:
    """All samples of these cache folders in one row on the device; None if there is no room."""
    maps = [np.load(path / FILES[0], mmap_mode="r") for path in paths]
    size, left = sum(map(len, maps)), free_gpu_memory(device)
    wanted = size * torch.float16.itemsize
    if wanted > SHARE * left:
        logging.getLogger("heartfed").warning(
            "%s: the recordings take %.0f MiB and %.0f are left, of which %.0f%% may be theirs. "
            "They stay in the host's memory, from where every batch is sent.",
            *(device, wanted / 2**20, left / 2**20, 100 * SHARE),
        )
        return None
    row, at = torch.empty(size, dtype=torch.float16, device=device), 0
    for signals in maps:
        for begin in range(0, len(signals), PIECE):
            piece = torch.from_numpy(np.array(signals[begin : begin + PIECE]))
            row[at : at + len(piece)] = piece
            at += len(piece)
    return row
