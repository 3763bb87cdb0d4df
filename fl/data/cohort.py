"""Examples of several sources side by side, and batches made from their memory maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fl.data.patient_counts import count_by_patient
from fl.data.shards import Shard, open_shard
from fl.datasets.duplicates import SeenSignals
from fl.ecg.rhythm.features import of_leads
from fl.ecg.tasks import Task

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The input of a network for several examples, and the labels it should predict."""

    signal: torch.Tensor  # (batch, lead, sample) float32; a missing lead is zero
    lead_mask: torch.Tensor  # (batch, lead) float32, 1 where recorded
    features: torch.Tensor  # (batch, feature) float32
    labels: torch.Tensor  # (batch, class) float32; -1 where not annotated
    detector_features: torch.Tensor  # (batch, feature) float32, or (batch, 0): as of `Examples`

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device; the host does not wait for the copy."""
        return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


class Recorder(Protocol):
    """A site's own recording device. It changes the same example in the same way every time."""

    def delivered_leads(self, recorded: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the recorded leads it delivers: (example, lead) -> (example, lead)."""

    def record(
        self, signal: NDArray[np.float32], names: NDArray[np.str_], positions: Indices
    ) -> NDArray[np.float32]:
        """Crops as this device would have recorded them: (example, lead, sample) -> the same.

        `names` (example,) identify the examples; `positions` (example, sample) is the position of
        each sample in its example.
        """


@dataclass(frozen=True)
class Cohort:
    """Patients and their examples: rows of one or several shards, in a fixed order."""

    task: Task
    shards: tuple[Shard, ...]
    shard: Indices  # (example,) number of its shard
    row: Indices  # (example,) row of that shard
    recorder: Recorder | None = None  # of all examples; it acts when a batch is made
    recorders: tuple[Recorder | None, ...] = ()  # of a joined cohort: one for each of its parts
    part: Indices | None = None  # of a joined cohort: (example,) number of its part
    masked_classes: tuple[int, ...] = ()  # classes that are treated as not annotated

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
        """All examples of several cache folders; `DataError` if one cannot be read."""
        return cls.of(task, [open_shard(path) for path in paths])

    def __len__(self) -> int:
        return len(self.row)

    def without_duplicates(self) -> tuple["Cohort", dict[str, list[str]]]:
        """The cohort without recordings whose signal an earlier source has too.

        Also returns those recordings by source. A recording that is in two data sets could
        otherwise be trained on under one name and tested under the other.
        """
        seen = SeenSignals()
        copies: dict[str, list[str]] = {}
        for shard in self.shards:
            for recording, fingerprints in shard.fingerprints.items():
                if seen.first_match(f"{shard.source}/{recording}", tuple(fingerprints)):
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

    def recorded_by(self, recorder: Recorder | None) -> "Cohort":
        """The same examples as that recorder would have recorded them."""
        return replace(self, recorder=recorder, recorders=(), part=None)

    @classmethod
    def joined(cls, parts: Sequence["Cohort"]) -> "Cohort":
        """Several cohorts of the same shards as one; each part keeps its recorder.

        Raises ValueError if the parts have different shards.
        """
        first = parts[0]
        if any(part.shards is not first.shards for part in parts):
            raise ValueError("cohorts of different shards cannot be joined")
        return cls(
            first.task,
            first.shards,
            np.concatenate([part.shard for part in parts]),
            np.concatenate([part.row for part in parts]),
            recorders=tuple(part.recorder for part in parts),
            part=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        )

    @property
    def has_recorders(self) -> bool:
        """Whether any example is changed by a site's own recorder."""
        return any(recorder is not None for recorder in (self.recorder, *self.recorders))

    def _by_recorder(self, indices: Indices) -> Iterator[tuple[Recorder, Indices]]:
        """Each recorder, and the positions in `indices` of the examples that it records."""
        if self.recorder is not None:
            yield self.recorder, np.arange(len(indices))
        elif self.part is not None:
            part = self.part[indices]
            for number, recorder in enumerate(self.recorders):
                if recorder is not None and (part == number).any():
                    yield recorder, np.flatnonzero(part == number)

    def without_rare(self, min_count: int) -> "Cohort":
        """The same examples, with every rare class treated as not annotated.

        A class is rare if fewer than `min_count` patients have a positive example of it, or fewer
        than `min_count` a negative one.
        """
        if min_count <= 0 and not self.masked_classes:
            return self
        counts = np.stack([self.count_patients(self.labels == value) for value in (1, 0)])
        rare = (counts < min_count).any(axis=0)
        return replace(self, masked_classes=tuple(np.flatnonzero(rare).tolist()))

    def count_patients(self, of: NDArray[np.bool_]) -> Indices:
        """Patients with at least one example that is marked: (example, column) -> (column,)."""
        shown = count_by_patient(of, self.patient_numbers, self.n_patients) > 0
        return np.asarray(shown.sum(axis=0), dtype=np.int64)

    def column(self, name: str) -> NDArray[np.generic]:
        """One field of `Shard` for every example, (example, ...): `names`, `labels`, `ages`, ..."""
        columns = [getattr(s, name) for s in self.shards]
        # Only the chosen rows of each shard: a small site is a thousandth of all of them.
        values = np.empty((len(self), *columns[0].shape[1:]), dtype=np.result_type(*columns))
        for number, column in enumerate(columns):
            in_shard = self.shard == number
            values[in_shard] = column[self.row[in_shard]]
        return values

    @cached_property
    def labels(self) -> NDArray[np.int8]:
        """(example, class): 1 yes, 0 no, -1 not annotated."""
        labels = self.column("labels").astype(np.int8)
        labels[:, list(self.masked_classes)] = -1
        return labels

    @cached_property
    def lead_mask(self) -> NDArray[np.bool_]:
        """(example, lead) whether the lead was recorded and delivered."""
        recorded = self.column("lead_mask").astype(bool)
        for recorder, examples in self._by_recorder(np.arange(len(self))):
            recorded[examples] = recorder.delivered_leads(recorded[examples])
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
    def features(self) -> NDArray[np.float32]:
        """(example, feature) standardised; (example, 0) where the task has none.

        Of rhythm features, those of a lead that is not delivered are 0, which is not known.
        """
        features = self.column("features").astype(np.float32)
        if self.task.feature_groups and self.has_recorders:
            features *= of_leads(self.task.features, self.lead_mask)
        return features

    @cached_property
    def detector_features(self) -> NDArray[np.float32]:
        """(example, feature) the features with a detector's errors; (example, 0) without any."""
        return self.column("detector_features").astype(np.float32)

    @cached_property
    def lead_positions(self) -> Indices:
        """(example, lead) position of the lead's first sample in the row of its shard.

        It has no meaning for a lead that was not recorded.
        """
        stored = self.column("lead_mask").astype(bool)
        rank = np.maximum(stored.cumsum(axis=1) - 1, 0)  # of a lead among the stored ones
        offsets = self.column("offsets").astype(np.int64)
        return np.asarray(offsets[:, None] + rank * self.lengths[:, None])

    def batch_without_signals(self, indices: Indices, starts: Indices) -> Batch:
        """`batch` for a network that reads features alone: signals have no samples."""
        return self._batch_of(torch.zeros(len(indices), self.task.leads, 0), indices)

    def batch(self, indices: Indices, starts: Indices) -> Batch:
        """`task.samples` samples of each example from its start: see `Batch` for the shapes.

        `indices` (batch,) are examples, `starts` (batch,) samples. A recording shorter than that
        is repeated from its beginning: padding with zeros would show the network its length, and
        the length predicts the class.
        """
        signal = torch.from_numpy(self._stored_crops(indices, starts)).float()
        length = self.lengths[indices]
        for recorder, rows in self._by_recorder(indices):
            positions = (starts[rows, None] + np.arange(self.task.samples)) % length[rows, None]
            recorded = recorder.record(signal[rows].numpy(), self.names[indices[rows]], positions)
            signal[rows] = torch.from_numpy(recorded)
        return self._batch_of(signal, indices)

    def _batch_of(self, signal: torch.Tensor, indices: Indices) -> Batch:
        """These signals with everything else that belongs to their examples."""
        return Batch(
            signal=signal,
            lead_mask=torch.from_numpy(self.lead_mask[indices].astype(np.float32)),
            features=torch.from_numpy(self.features[indices]),
            labels=torch.from_numpy(self.labels[indices].astype(np.float32)),
            detector_features=torch.from_numpy(self.detector_features[indices]),
        )

    def _stored_crops(self, indices: Indices, starts: Indices) -> NDArray[np.float16]:
        """The crops as they are stored, (batch, lead, sample); torch widens them faster later."""
        samples, length = self.task.samples, self.lengths[indices]
        crops = np.zeros((len(indices), self.task.leads, samples), dtype=np.float16)
        shards = self.shard[indices]
        long_enough = starts + samples <= length
        for number in np.unique(shards):
            for repeated in np.unique(~long_enough[shards == number]):
                chosen = np.flatnonzero((shards == number) & (long_enough != repeated))
                example, lead = np.nonzero(self.lead_mask[indices[chosen]])
                rows = chosen[example]
                begin = self.lead_positions[indices[rows], lead]
                signals = np.asarray(self.shards[number].signals)
                if repeated:
                    position = (starts[rows, None] + np.arange(samples)) % length[rows, None]
                    crops[rows, lead] = signals[begin[:, None] + position]
                else:
                    # Rows of a view are copied whole, many times faster than sample by sample.
                    windows = np.lib.stride_tricks.sliding_window_view(signals, samples)
                    crops[rows, lead] = windows[begin + starts[rows]]
        return crops

    def epoch(self, per_recording: int, rng: np.random.Generator) -> Indices:
        """Examples in random order, at most `per_recording` of each recording; 0 takes all.

        A half-hour recording gives 180 windows that are very similar. Taking only a few of them
        in each epoch, different ones each time, keeps one Holter patient from outweighing 180
        other people.
        """
        order = rng.permutation(len(self))
        if per_recording == 0:
            return order
        recording = self.recording_numbers[order]
        by_recording = np.argsort(recording, kind="stable")
        counts = np.bincount(recording)
        rank = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
        kept = np.empty(len(order), dtype=bool)
        kept[by_recording] = rank < per_recording
        return order[kept]

    def epoch_weights(self, per_recording: int) -> NDArray[np.float64]:
        """The probability that an epoch takes each example: (example,)."""
        if per_recording == 0 or not len(self):
            return np.ones(len(self))
        counts = np.bincount(self.recording_numbers)[self.recording_numbers]
        return np.asarray(np.minimum(per_recording / counts, 1.0))

    def patient_weights(self, per_recording: int) -> NDArray[np.float64]:
        """`epoch_weights`, divided so that those of each patient sum to one: (example,)."""
        taken = self.epoch_weights(per_recording)
        return np.asarray(taken / np.bincount(self.patient_numbers, taken)[self.patient_numbers])

    def loss_weights(self, examples: Indices) -> NDArray[np.float32]:
        """Weights with which every patient of an epoch counts alike in its loss: (example,).

        `examples` are the epoch's, in its order. Each has 1 / (how many of them are of its
        patient), times a number that makes the mean weight one.
        """
        _, patient = np.unique(self.patient_numbers[examples], return_inverse=True)
        counts = np.bincount(patient)
        return (len(examples) / (len(counts) * counts[patient])).astype(np.float32)

    @cached_property
    def patient_numbers(self) -> Indices:
        """(example,) number of its patient: from 0, in order of name."""
        return np.asarray(np.unique(self.patients, return_inverse=True)[1], dtype=np.int64)

    @property
    def n_patients(self) -> int:
        """How many patients there are."""
        return int(self.patient_numbers.max(initial=-1)) + 1

    @cached_property
    def rows_of_sources(self) -> dict[str, Indices]:
        """The examples of each source, in order of its name."""
        names, number = np.unique(self.sources, return_inverse=True)
        return {name: np.flatnonzero(number == n) for n, name in enumerate(names.tolist())}

    @cached_property
    def by_source(self) -> dict[str, "Cohort"]:
        """The cohort of each source, in order of its name."""
        rows = self.rows_of_sources
        return {name: self if len(rows) == 1 else self.take(rows[name]) for name in rows}

    @cached_property
    def recording_numbers(self) -> Indices:
        """(example,) number of its recording."""
        names = self._with_source("recordings")
        return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)

    def _with_source(self, column: str) -> NDArray[np.str_]:
        """A column of names, made unique over all sources: `mitdb:201`."""
        prefix = np.char.add(self.sources, ":")
        return np.asarray(np.char.add(prefix, self.column(column).astype(np.str_)), dtype=np.str_)

    def random_starts(self, indices: Indices, rng: np.random.Generator) -> Indices:
        """The start of a random crop of each example: (index,) samples, multiples of the stride."""
        latest = np.maximum(self.lengths[indices] - self.task.samples, 0)
        return rng.integers(0, latest // self.task.stride + 1) * self.task.stride

    def even_crops(self, most: int) -> tuple[Indices, Indices]:
        """At most `most` evenly spaced crops of each example: (crop,) example, (crop,) start.

        A start is a multiple of the task's stride.
        """
        latest = np.maximum(self.lengths - self.task.samples, 0)
        count = np.minimum(np.ceil(self.lengths / self.task.samples).astype(np.int64), most)
        count = np.maximum(count, 1)
        example = np.repeat(np.arange(len(self)), count)
        number = np.arange(len(example)) - np.repeat(count.cumsum() - count, count)
        gaps = np.maximum(count - 1, 1)
        starts = np.rint(number * latest[example] / gaps[example]).astype(np.int64)
        return example, starts - starts % self.task.stride
