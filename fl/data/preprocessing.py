"""Recordings become examples, in worker processes if there are many."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.shards import Columns, columns_of_record
from fl.datasets.base import Source
from fl.datasets.duplicates import fingerprints
from fl.ecg.beat_pictures import left_out
from fl.ecg.labels import BEAT_CLASSES, BEATS_WITHOUT_CLASS
from fl.ecg.records import Record
from fl.ecg.tasks import TASKS, Task
from fl.util.errors import UnusableRecord

MIN_PARALLEL_RECORDS = 16  # fewer records are done before worker processes have started
MAX_CHUNK = 8  # records handed to a worker at a time


@dataclass(frozen=True, kw_only=True)
class RecordExamples:
    """The examples of one recording, as they are written to a cache folder."""

    fingerprints: tuple[str, ...]  # of the recording's leads
    columns: Columns
    samples: NDArray[np.float16]  # of all examples, in one row
    # Annotated beats that gave no example because the task has no class for them: code -> beats
    beats_without_class: dict[str, int]


def preprocess(source: Source, root: Path, task_name: str, name: str) -> RecordExamples | str:
    """The examples of a record, or the verdict why there are none."""
    task = TASKS[task_name]
    try:
        record = source.read(root, name)
        examples = task.make_examples(record)
    except UnusableRecord as verdict:
        return verdict.reason
    columns, samples = columns_of_record(task, name, record, examples)
    return RecordExamples(
        fingerprints=fingerprints(record.leads, record.signal),
        columns=columns,
        samples=samples,
        beats_without_class=_beats_without_class(task, record),
    )


def _beats_without_class(task: Task, record: Record) -> dict[str, int]:
    """The annotated beats of a record that a beat task has no class for, by code."""
    if record.annotations is None or not (task.whole_beats or task.classes == BEAT_CLASSES):
        return {}
    if task.whole_beats:
        return dict(left_out(record.annotations))
    found = Counter(record.annotations.symbols)
    return {code: found[code] for code in BEATS_WITHOUT_CLASS if found[code]}


class PreprocessingPool:
    """Worker processes that start when the first work arrives and end with an exit stack."""

    def __init__(self, workers: int, stack: ExitStack) -> None:
        self.workers, self._stack = workers, stack
        self._pool: ProcessPoolExecutor | None = None

    def map(self, work: Callable[[str], Any], names: list[str]) -> Iterator[Any]:
        """`work` of each name, in the order of the names."""
        if self.workers < 2 or len(names) < MIN_PARALLEL_RECORDS:
            return map(work, names)
        if self._pool is None:
            # Spawned, not forked: the parent may have threads (progress display) and hold locks.
            pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"))
            self._pool = pool
            self._stack.callback(pool.shutdown, cancel_futures=True)
        chunk = max(1, min(MAX_CHUNK, len(names) // (8 * self.workers)))
        return self._pool.map(work, names, chunksize=chunk)
