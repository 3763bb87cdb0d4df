"""Examples of several sources side by side, and batches cut from their memory maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fl.data.example_cache import Shard, open_shard
from fl.ecg.duplicates import SeenSignals
from fl.ecg.tasks import Task

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a network sees at once, and what it should have said."""

    signal: torch.Tensor  # (batch, lead, sample) float32; a missing lead is zero
    lead_mask: torch.Tensor  # (batch, lead) float32, 1 where recorded
    features: torch.Tensor  # (batch, feature) float32
    labels: torch.Tensor  # (batch, class) float32; -1 where not annotated

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; the host does not wait for it."""
        return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


class Recorder(Protocol):
    """A recorder of a site's own. It makes the same of the same example every time."""

    def leads(self, recorded: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which recorded leads it delivers: (example, lead) -> (example, lead)."""

    def signal(
        self, signal: NDArray[np.float32], names: NDArray[np.str_], at: Indices
    ) -> NDArray[np.float32]:
        """What it makes of crops (example, lead, sample).

        `names` tells the examples apart, `at` (example, sample) is where in its example each
        sample is.
        """


@dataclass(frozen=True)
class Cohort:
    """Patients and their examples: rows of one or several shards, in a fixed order."""

    task: Task
    shards: tuple[Shard, ...]
    shard: Indices  # (example,) which shard
    row: Indices  # (example,) which row of it
    device: Recorder | None = None  # what the examples pass through when a batch is cut
    devices: tuple[Recorder | None, ...] = ()  # of a joined cohort: those of its parts
    part: Indices | None = None  # of a joined cohort: (example,) which of them
    hidden: tuple[int, ...] = ()  # classes that count as not annotated

    @classmethod
    def of(cls, task: Task, shards: list[Shard]) -> "Cohort":
        """All examples of all shards."""
        counts = [len(s.names) for s in shards]
        return cls(
            task,
            tuple(shards),
            np.repeat(np.arange(len(shards)), counts),
            np.concatenate([np.arange(n) for n in counts]) if counts else np.zeros(0, np.int64),
        )

    @classmethod
    def open(cls, task: Task, paths: list[Path]) -> "Cohort":
        """All examples of the cache folders."""
        return cls.of(task, [open_shard(path) for path in paths])

    def __len__(self) -> int:
        return len(self.row)

    def without_duplicates(self) -> tuple["Cohort", dict[str, list[str]]]:
        """The cohort without recordings of which an earlier source has the same signal.

        Also which ones they are, by source: a patient's recording in two data sets could
        otherwise be trained on under one name and tested under the other.
        """
        seen = SeenSignals()
        copies: dict[str, list[str]] = {}
        for shard in self.shards:
            for recording, prints in shard.prints.items():
                if seen.first_match(f"{shard.source}/{recording}", tuple(prints)):
                    copies.setdefault(shard.source, []).append(recording)
        if not copies:
            return self, {}
        recordings = self.column("recordings")
        kept = np.ones(len(self), dtype=bool)
        for source, names in copies.items():
            kept &= ~((self.sources == source) & np.isin(recordings, names))
        return self.take(np.flatnonzero(kept)), copies

    def take(self, indices: Indices) -> "Cohort":
        """Only these examples, in this order."""
        part = None if self.part is None else self.part[indices]
        return replace(self, shard=self.shard[indices], row=self.row[indices], part=part)

    def through(self, device: Recorder | None) -> "Cohort":
        """The same examples as that recorder would have delivered them."""
        return replace(self, device=device, devices=(), part=None)

    @classmethod
    def joined(cls, parts: Sequence["Cohort"]) -> "Cohort":
        """Several cohorts of the same shards as one; each keeps the recorder it had."""
        first = parts[0]
        if any(part.shards is not first.shards for part in parts):
            raise ValueError("cohorts of different shards cannot be joined")
        return cls(
            first.task,
            first.shards,
            np.concatenate([part.shard for part in parts]),
            np.concatenate([part.row for part in parts]),
            devices=tuple(part.device for part in parts),
            part=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        )

    @property
    def has_recorders(self) -> bool:
        """Whether any of the examples passes through a recorder of a site's own."""
        return any(device is not None for device in (self.device, *self.devices))

    def _by_device(self, indices: Indices) -> Iterator[tuple[Recorder, Indices]]:
        """Each device, and which places of `indices` pass through it."""
        if self.device is not None:
            yield self.device, np.arange(len(indices))
        elif self.part is not None:
            part = self.part[indices]
            for number, device in enumerate(self.devices):
                if device is not None and (part == number).any():
                    yield device, np.flatnonzero(part == number)

    def without_rare(self, min_count: int) -> "Cohort":
        """The same examples, where a class that fewer of them show, or lack, is not annotated."""
        counts = np.stack([(self.labels == value).sum(axis=0) for value in (1, 0)])
        rare = (counts < min_count).any(axis=0)
        return replace(self, hidden=tuple(np.flatnonzero(rare).tolist()))

    def column(self, name: str) -> NDArray[np.generic]:
        """One column of every example: `names`, `patients`, `labels`, `ages`, ..."""
        parts = [getattr(s, name) for s in self.shards]
        # Not all shards as one, of which a small site is a thousandth.
        found = np.empty((len(self), *parts[0].shape[1:]), dtype=np.result_type(*parts))
        for number, part in enumerate(parts):
            here = self.shard == number
            found[here] = part[self.row[here]]
        return found

    @cached_property
    def labels(self) -> NDArray[np.int8]:
        """(example, class): 1 yes, 0 no, -1 not annotated."""
        labels = self.column("labels").astype(np.int8)
        labels[:, list(self.hidden)] = -1
        return labels

    @cached_property
    def lead_mask(self) -> NDArray[np.bool_]:
        """(example, lead) whether the lead was recorded."""
        recorded = self.column("lead_mask").astype(bool)
        for device, at in self._by_device(np.arange(len(self))):
            recorded[at] = device.leads(recorded[at])
        return recorded

    @cached_property
    def sources(self) -> NDArray[np.str_]:
        """(example,) name of the data set."""
        names = np.array([s.source for s in self.shards] or [""], dtype=np.str_)
        return names[self.shard]

    @cached_property
    def names(self) -> NDArray[np.str_]:
        """(example,) unique within its source."""
        return self.column("names").astype(np.str_)

    @cached_property
    def patients(self) -> NDArray[np.str_]:
        """(example,) unique over all sources."""
        return self._with_source("patients")

    @cached_property
    def lengths(self) -> Indices:
        """(example,) samples per lead."""
        return self.column("lengths").astype(np.int64)

    @cached_property
    def places(self) -> tuple[Indices, NDArray[np.bool_], NDArray[np.float32]]:
        """Where each lead begins in its shard, (example, lead); lead mask; features."""
        stored = self.column("lead_mask").astype(bool)
        rank = np.maximum(stored.cumsum(axis=1) - 1, 0)  # a lead's place among the recorded ones
        first = self.column("offsets").astype(np.int64)[:, None] + rank * self.lengths[:, None]
        return first, self.lead_mask, self.column("features").astype(np.float32)

    def batch(self, indices: Indices, starts: Indices) -> Batch:
        """`task.samples` samples of each example from its start; shape (batch, lead, sample).

        A recording shorter than that is repeated from its beginning: padding with zeros would
        tell the network its length, and length predicts the class.
        """
        first, mask, features = self.places
        samples, length = self.task.samples, self.lengths[indices]
        stored = np.zeros((len(indices), self.task.leads, samples), dtype=np.float16)
        shards = self.shard[indices]
        whole = starts + samples <= length
        for number in np.unique(shards):
            for repeated in np.unique(~whole[shards == number]):
                chosen = np.flatnonzero((shards == number) & (whole != repeated))
                example, lead = np.nonzero(mask[indices[chosen]])
                rows = chosen[example]
                begin = first[indices[rows], lead]
                signals = np.asarray(self.shards[number].signals)
                if repeated:
                    at = (starts[rows, None] + np.arange(samples)) % length[rows, None]
                    stored[rows, lead] = signals[begin[:, None] + at]
                else:
                    # Rows of a view are copied whole, many times faster than sample by sample.
                    crops = np.lib.stride_tricks.sliding_window_view(signals, samples)
                    stored[rows, lead] = crops[begin + starts[rows]]
        # Torch widens float16 many times faster than NumPy.
        signal = torch.from_numpy(stored).float()
        for device, of in self._by_device(indices):
            at = (starts[of, None] + np.arange(samples)) % length[of, None]
            heard = device.signal(signal[of].numpy(), self.names[indices[of]], at)
            signal[of] = torch.from_numpy(heard)
        return Batch(
            signal=signal,
            lead_mask=torch.from_numpy(mask[indices].astype(np.float32)),
            features=torch.from_numpy(features[indices]),
            labels=torch.from_numpy(self.labels[indices].astype(np.float32)),
        )

    def epoch(self, per_recording: int, rng: np.random.Generator) -> Indices:
        """One pass over the examples in random order, at most `per_recording` of each recording.

        A half-hour recording gives 180 windows that are much alike. Taking a few of them per
        pass, others each time, keeps one Holter patient from outweighing 180 other people.
        0 takes all.
        """
        order = rng.permutation(len(self))
        if per_recording == 0:
            return order
        recording = self._recording[order]
        grouped = np.argsort(recording, kind="stable")
        counts = np.bincount(recording)
        place = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
        kept = np.empty(len(order), dtype=bool)
        kept[grouped] = place < per_recording
        return order[kept]

    def epoch_weights(self, per_recording: int) -> NDArray[np.float64]:
        """How many times an average epoch takes each example: (example,), at most 1."""
        if per_recording == 0 or not len(self):
            return np.ones(len(self))
        counts = np.bincount(self._recording)[self._recording]
        return np.asarray(np.minimum(per_recording / counts, 1.0))

    @cached_property
    def _recording(self) -> Indices:
        """(example,) number of the recording it was cut from."""
        names = self._with_source("recordings")
        return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)

    def _with_source(self, column: str) -> NDArray[np.str_]:
        """A column made unique over sources: `mitdb:201`."""
        prefix = np.char.add(self.sources, ":")
        return np.asarray(np.char.add(prefix, self.column(column).astype(np.str_)), dtype=np.str_)

    def random_starts(self, indices: Indices, rng: np.random.Generator) -> Indices:
        """A random crop of each example."""
        room = np.maximum(self.lengths[indices] - self.task.samples, 0)
        return rng.integers(0, room + 1)

    def even_crops(self, most: int) -> tuple[Indices, Indices]:
        """Crops that cover each example evenly, at most `most`: (crop,) example, (crop,) start."""
        room = np.maximum(self.lengths - self.task.samples, 0)
        count = np.minimum(np.ceil(self.lengths / self.task.samples).astype(np.int64), most)
        count = np.maximum(count, 1)
        example = np.repeat(np.arange(len(self)), count)
        place = np.arange(len(example)) - np.repeat(count.cumsum() - count, count)
        gaps = np.maximum(count - 1, 1)
        return example, np.rint(place * room[example] / gaps[example]).astype(np.int64)
