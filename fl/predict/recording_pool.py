"""Recordings answered by several processes, in the order in which they were named."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from fl.ecg.records import Record
from fl.predict.input_files import read_record
from fl.predict.saved_model import SavedModel, load_model
from fl.predict.several import MOST_RECORDINGS, Answer, Reading, answers_to
from fl.training.device import one_thread
from fl.util.cores import available_cores

PARALLEL_FROM = 200  # recordings; fewer are answered before a second process has loaded torch
CHUNK = 2 * MOST_RECORDINGS  # recordings of one request to a process
AHEAD = 2  # requests that wait for each process: memory does not grow with the number of recordings


@dataclass(frozen=True, kw_only=True)
class PredictionJob:
    """What a process needs to answer recordings."""

    weights: Path
    task: str
    fs: float | None  # Hz, of CSV files
    unit: str
    leads: tuple[str, ...] = ()  # of CSV files without a header
    ignore_checksums: bool = False
    reading: Reading

    def answers(self, model: SavedModel, names: Sequence[str]) -> Iterator[Answer]:
        """The answers to recordings in this process."""
        return answers_to(model, names, self._read, self.reading)

    def _read(self, name: str) -> Record:
        return read_record(
            name, self.fs, self.unit, self.leads, self.ignore_checksums, single_beats=True
        )


def all_answers(
    job: PredictionJob, model: SavedModel, names: Sequence[str], workers: int = 0
) -> Iterator[list[Answer]]:
    """The answers to all recordings, in their order, some at a time.

    `workers` is the number of processes; 0: one for each core, if that is worth their start.
    """
    chunks = [names[begin : begin + CHUNK] for begin in range(0, len(names), CHUNK)]
    n = workers or (available_cores() if len(names) >= PARALLEL_FROM else 1)
    if n > 1:
        yield from _in_parallel(job, chunks, n)
    else:
        for chunk in chunks:
            yield list(job.answers(model, chunk))


def _in_parallel(
    job: PredictionJob, chunks: Sequence[Sequence[str]], workers: int
) -> Iterator[list[Answer]]:
    waiting = deque(chunks)
    running: deque[tuple[Sequence[str], Future[list[Answer]]]] = deque()
    others = multiprocessing.active_children()
    pool = _pool(job, workers)
    try:
        while waiting or running:
            try:
                while waiting and len(running) < AHEAD * workers:
                    running.append((waiting[0], pool.submit(_answer_chunk, waiting[0])))
                    waiting.popleft()
                chunk, future = running[0]
                answers = future.result()
            except BrokenProcessPool:
                pool.shutdown(wait=False, cancel_futures=True)
                lost = [chunk for chunk, _ in running]
                running.clear()
                # Which of the recordings ended the process is not known.
                for chunk in lost:
                    yield list(_one_by_one(job, chunk))
                pool = _pool(job, workers)
            else:
                running.popleft()
                yield answers
    finally:
        if running:  # stopped: what is being read now is not awaited, which may take minutes
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)


def _one_by_one(job: PredictionJob, names: Sequence[str]) -> Iterator[Answer]:
    """Each recording by itself, so that one that ends the process costs itself alone."""
    pool = _pool(job, 1)
    try:
        for name in names:
            try:
                yield from pool.submit(_answer_chunk, [name]).result()
            except BrokenProcessPool:
                yield Answer(
                    name=name,
                    error=f"{name}: the process that read it ended (too little memory, or a fault "
                    "in a library). Try it alone, on a machine with more memory.",
                )
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(job, 1)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_worker: tuple[PredictionJob, SavedModel] | None = None  # of this process


def _pool(job: PredictionJob, workers: int) -> ProcessPoolExecutor:
    # Not `fork`: torch's threads do not survive it.
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(job,)
    )


def _begin(job: PredictionJob) -> None:
    """Load the model once in each process. Ctrl-C is for the command that started it."""
    global _worker
    import scipy.linalg  # noqa: F401  # has a BLAS of its own, which is loaded with it
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread()
    threadpool_limits(1)  # two processes with a thread for each core would wait for each other
    _worker = job, load_model(job.weights, job.task)


def _answer_chunk(names: Sequence[str]) -> list[Answer]:
    assert _worker is not None
    job, model = _worker
    return list(job.answers(model, names))
