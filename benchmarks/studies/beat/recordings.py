"""The recordings of the beat study, their annotated beats, and the beats that a detector finds."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.data.example_cache import prepare_all
from fl.data.preprocessing import PreprocessingPool
from fl.data.shards import Shard, shard_in_memory
from fl.datasets.base import Card, Source
from fl.datasets.mitdb import DS1, DS2, MITDB
from fl.datasets.svdb import SVDB
from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.beat_segments import annotated_beats, reject_paced, require_lead_two
from fl.ecg.labels import AAMI, BEAT_CLASSES, UNKNOWN
from fl.ecg.qrs_detection import detect_beats
from fl.ecg.records import Record
from fl.ecg.tasks import TASKS, Task
from fl.evaluation.ec57 import fibrillation_of
from fl.util.errors import DataError, UnusableRecord

Indices = NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class OnlyRecords:
    """Some records of a source. The files of its other records are never opened."""

    source: Source
    records: tuple[str, ...]

    def __repr__(self) -> str:
        """The same in every process, because it is part of the name of the cache folder."""
        return f"OnlyRecords({self.card!r}, {self.records})"

    @property
    def card(self) -> Card:
        return self.source.card

    def exists(self, root: Path) -> bool:
        return self.source.exists(root)

    def record_names(self, root: Path) -> list[str]:
        """The chosen records; `DataError` if the folder lacks one of them."""
        missing = sorted(set(self.records) - set(self.source.record_names(root)))
        if missing:
            raise DataError(
                f"{self.card.name} in {root}: {len(missing)} of the {len(self.records)} records "
                f"that the study needs are missing ({', '.join(missing[:5])}). The whole data set "
                "is needed: python -m fl.datasets download " + self.card.name
            )
        return sorted(self.records)

    def files(self, root: Path) -> list[Path]:
        return [path for path in self.source.files(root) if path.stem in self.records]

    def read(self, root: Path, name: str) -> Record:
        """One of the chosen records; ValueError for any other."""
        if name not in self.records:
            raise ValueError(f"record {name} of {self.card.name} is not one of {self.records}")
        return self.source.read(root, name)


# DS2 is a source of its own, so that what chooses settings has no means to open it.
SOURCES: dict[str, Source] = {
    "ds1": OnlyRecords(MITDB, DS1),
    "svdb": SVDB,
    "ds2": OnlyRecords(MITDB, DS2),
}
CHOOSING = ("ds1", "svdb")


@dataclass(frozen=True, kw_only=True)
class DetectedRecord:
    """The annotated and the detected beats of one record."""

    key: str  # source/record
    annotated: Indices  # (beat,) samples
    truth: Indices  # (beat,) index into BEAT_CLASSES
    detected: Indices  # (detection,) samples
    fs: float  # Hz
    fibrillation: tuple[tuple[int, int], ...]  # stretches that are not compared, in samples


@dataclass(frozen=True)
class Detected:
    """The beats that a detector found, and an example of each of them."""

    records: tuple[DetectedRecord, ...]
    cohort: Cohort  # (detection,) of the records in their order; the labels are unknown


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """Where the recordings are, and where their examples are kept."""

    data: Path
    cache: Path
    workers: int = 1

    def examples(self, names: Sequence[str], task: str = "beat") -> Cohort:
        """Every annotated beat of these sources (names of SOURCES), for a task by name."""
        chosen = {name: SOURCES[name] for name in names}
        paths = prepare_all(chosen, self.data, TASKS[task], self.cache, self.workers)
        return Cohort.open(TASKS[task], list(paths.values()))

    def detected(self, names: Sequence[str], detector: str, task: str = "beat") -> Detected:
        """Every beat that a detector finds in the records whose annotated beats can be used."""
        records, shards = [], []
        for source in (SOURCES[name] for name in names):
            found = self._peaks(source, detector)
            for record_name, peaks in found.items():
                record = source.read(self.data, record_name)
                records.append(_compared(record, peaks))
                shards.append(_examples_at(record, peaks, TASKS[task]))
        return Detected(tuple(records), Cohort.of(TASKS[task], shards))

    def _peaks(self, source: Source, detector: str) -> dict[str, Indices]:
        """The detected R peaks of each usable record; they are kept in the cache folder."""
        names = source.record_names(self.data)
        work = partial(detected_peaks, source, self.data, self.cache, detector)
        with ExitStack() as stack:
            found = list(PreprocessingPool(self.workers, stack).map(work, names))
        return {name: peaks for name, peaks in zip(names, found, strict=True) if peaks is not None}


def detected_peaks(
    source: Source, data: Path, cache: Path, detector: str, name: str
) -> Indices | None:
    """The R peaks that a detector finds in a record; None if the record's beats cannot be used."""
    try:
        record = source.read(data, name)
        require_lead_two(record)
        if record.annotations is None:
            return None
        reject_paced(name, record.annotations)
    except UnusableRecord:
        return None
    signal = record.signal[record.leads.index("II")]
    version = TASKS[f"beat-{detector}"].preprocessing
    digest = hashlib.blake2b(f"{version}/{record.fs}".encode() + signal.tobytes(), digest_size=10)
    path = cache / f"peaks-{detector}-{digest.hexdigest()}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, detect_beats(detector, signal, record.fs))
    return np.asarray(np.load(path), dtype=np.int64)


def _compared(record: Record, peaks: Indices) -> DetectedRecord:
    assert record.annotations is not None
    annotated, symbols = annotated_beats(record.annotations)
    return DetectedRecord(
        key=f"{record.source}/{record.name}",
        annotated=annotated,
        truth=np.array([BEAT_CLASSES.index(AAMI[s]) for s in symbols.tolist()], dtype=np.int64),
        detected=peaks,
        fs=record.fs,
        fibrillation=tuple(fibrillation_of(record.annotations)),
    )


def _examples_at(record: Record, peaks: Indices, task: Task) -> Shard:
    maker = task.make_examples
    assert isinstance(maker, BeatExampleMaker)
    unknown = np.full((len(peaks), len(task.classes)), UNKNOWN, dtype=np.int8)
    return shard_in_memory(task, record, maker.from_peaks(record, peaks, unknown))


def left_out(cohort: Cohort) -> dict[str, dict[str, list[str]]]:
    """The records of each source that could not be used, by verdict."""
    return {shard.source: shard.excluded for shard in cohort.shards if shard.excluded}
