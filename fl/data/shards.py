"""The examples of one source as arrays: read from a cache folder, or made of one recording.

A cache folder holds `signals.npy`, all samples in one row as float16; `index.npz`, where the
samples of each example are and what is known of it; and `cache.json`, checksums and the records
that were left out.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.records import Examples, Record
from fl.ecg.tasks import Task
from fl.util.errors import DataError

SIGNALS, INDEX, FACTS = "signals.npy", "index.npz", "cache.json"
Columns = dict[str, NDArray[Any]]  # the fields of a Shard that are (example, ...) arrays, by name


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The examples of one source, ready to train on."""

    path: Path  # cache folder; Path() if the examples are only in memory
    source: str
    digest: str  # of the files it was made from
    names: NDArray[np.str_]  # (example,)
    recordings: NDArray[np.str_]  # (example,) the record it was cut from
    patients: NDArray[np.str_]  # (example,)
    groups: NDArray[np.str_]  # (example,) recorder, hospital or device
    first_labels: NDArray[np.str_]  # (example,) the source's own first label, or ""
    sexes: NDArray[np.str_]  # (example,)
    ages: NDArray[np.float32]  # (example,) years; nan where unknown
    labels: NDArray[np.int8]  # (example, class)
    features: NDArray[np.float32]  # (example, feature)
    # (example, feature) as of `Examples`; (example, 0) where there are none
    detector_features: NDArray[np.float32]
    lead_mask: NDArray[np.bool_]  # (example, lead)
    offsets: NDArray[np.int64]  # (example,) position of the first sample of its first lead
    lengths: NDArray[np.int64]  # (example,) samples per lead
    signals: NDArray[np.float16]  # memory map, one row
    excluded: dict[str, list[str]]  # verdict -> records left out
    fingerprints: dict[str, list[str]]  # record -> fingerprints of its leads
    # Annotated beats for which the task has no class: code -> beats; None where they were not
    # counted, in a folder that an earlier version made
    beats_without_class: dict[str, int] | None = None


def open_shard(path: Path) -> Shard:
    """The examples in a cache folder; signals stay on disk until they are used.

    Raises DataError if the folder cannot be read.
    """
    try:
        facts = json.loads((path / FACTS).read_text())
        with np.load(path / INDEX) as index:
            columns = {name: index[name] for name in index.files}
        signals = np.load(path / SIGNALS, mmap_mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: the cache cannot be read ({error}). Delete the folder and run again."
        ) from error
    return Shard(
        path=path,
        source=facts["source"],
        digest=facts["digest"],
        excluded=facts["excluded"],
        fingerprints=facts["prints"],
        beats_without_class=facts.get("beats_without_class"),
        signals=signals,
        **columns,
    )


def shard_in_memory(task: Task, record: Record, examples: Examples) -> Shard:
    """One recording's examples in the form of a cache folder, without writing one."""
    columns, samples = columns_of_record(task, record.name, record, examples)
    return Shard(
        path=Path(),
        source=record.source,
        digest="",
        excluded={},
        fingerprints={},
        beats_without_class=None,
        signals=samples,
        **join_columns([columns]),
    )


def columns_of_record(
    task: Task, name: str, record: Record, examples: Examples
) -> tuple[Columns, NDArray[np.float16]]:
    """The columns of one recording's examples, without offsets, and their samples in one row."""
    mask = np.zeros(task.leads, dtype=bool)
    mask[list(examples.leads)] = True
    # Leads are stored in the task's order, whatever their order in the file.
    order = np.argsort(examples.leads)
    count = len(examples.names)
    columns: Columns = {
        "names": np.array(examples.names),
        "recordings": np.repeat(name, count),
        "patients": np.repeat(record.patient, count),
        "groups": np.repeat(record.group, count),
        "first_labels": np.repeat(record.first_label, count),
        "sexes": np.repeat(record.sex, count),
        "ages": np.repeat(np.float32(np.nan if record.age is None else record.age), count),
        "labels": examples.labels,
        "features": examples.features,
        "detector_features": (
            np.zeros((count, 0), dtype=np.float32)
            if examples.detector_features is None
            else examples.detector_features
        ),
        "lead_mask": np.tile(mask, (count, 1)),
        "lengths": np.array([signal.shape[1] for signal in examples.signals], dtype=np.int64),
    }
    samples = [signal[order].astype(np.float16).ravel() for signal in examples.signals]
    return columns, np.concatenate(samples)


def join_columns(parts: list[Columns]) -> Columns:
    """The columns of all records, one below the other, with each example's offset in the row.

    Raises ValueError if two examples have the same name.
    """
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    repeated = [n for n, k in Counter(columns["names"].tolist()).items() if k > 1]
    if repeated:
        raise ValueError(f"example names are not unique: {repeated[:3]}")
    sizes = columns["lengths"] * columns["lead_mask"].sum(axis=1)
    columns["offsets"] = sizes.cumsum() - sizes
    return columns
