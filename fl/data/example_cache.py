"""Preprocessed examples on disk, made once, read by every worker through one memory map.

One folder per (source, task, content): `signals.npy` holds all samples in one row as float16,
`index.npz` where each example's samples are and what is known of it, `cache.json` the sums.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.base import Source
from fl.ecg.duplicates import SeenSignals, fingerprints
from fl.ecg.records import Examples, Record
from fl.ecg.tasks import TASKS, Task
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, DataError, UnusableRecord

FORMAT = 2
FILES = ("signals.npy", "index.npz")  # those whose sums cache.json holds
MIN_PARALLEL_RECORDS = 16  # records; fewer are done sooner than worker processes start
CHUNK = 8  # records handed to a worker at a time, at most
Progress = Callable[[int, int], None]  # records done, records in all
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The examples of one source, ready to train on."""

    path: Path
    source: str
    digest: str  # of the files it was made from
    names: NDArray[np.str_]  # (example,)
    recordings: NDArray[np.str_]  # (example,) the record it was cut from
    patients: NDArray[np.str_]
    groups: NDArray[np.str_]  # (example,) recorder, hospital or device
    first_labels: NDArray[np.str_]
    sexes: NDArray[np.str_]
    ages: NDArray[np.float32]  # years; nan where unknown
    labels: NDArray[np.int8]  # (example, class)
    features: NDArray[np.float32]  # (example, feature)
    lead_mask: NDArray[np.bool_]  # (example, lead)
    offsets: NDArray[np.int64]  # (example,) of the first sample of its first lead
    lengths: NDArray[np.int64]  # (example,) samples per lead
    signals: NDArray[np.float16]  # memory map, one row
    excluded: dict[str, list[str]]  # verdict -> records left out
    prints: dict[str, list[str]]  # record -> fingerprints of its leads


def default_cache_dir() -> Path:
    """`$HEARTFED_CACHE`, else the user's cache folder."""
    base = os.environ.get("HEARTFED_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heartfed"


def prepare(
    source: Source,
    root: Path,
    task: Task,
    cache_dir: Path,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Folder of the source's examples, made first if it is not there whole."""

    def step(_: str, done: int, total: int) -> None:
        if progress is not None:
            progress(done, total)

    return prepare_all({"": source}, root, task, cache_dir, workers, step)[""]


def prepare_all(
    sources: Mapping[str, Source],
    root: Path,
    task: Task,
    cache_dir: Path,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Path]:
    """Folder of each source's examples; `progress` is told name, records done, records in all.

    One set of worker processes serves all sources, since each takes a second to start, and has
    the work of all sources from the beginning, so that none waits while a source is written.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--cache-dir: {cache_dir} cannot be made ({error.strerror}). Name a folder you may "
            "write to, or set $HEARTFED_CACHE."
        ) from None
    with ExitStack() as stack:
        crew = PreprocessingPool(workers, stack)
        builds = {
            name: _begin(source, root, task, cache_dir, crew) for name, source in sources.items()
        }
        for name, build in builds.items():
            if build.results is not None:
                _finish(build, task, partial(progress, name) if progress else None)
        return {name: build.path for name, build in builds.items()}


class PreprocessingPool:
    """Worker processes that start when there is work for them."""

    def __init__(self, workers: int, stack: ExitStack) -> None:
        self.workers, self._stack = workers, stack
        self._pool: ProcessPoolExecutor | None = None

    def map(self, work: Callable[[str], Any], names: list[str]) -> Iterator[Any]:
        """`work` of each name, in the order of the names."""
        if self.workers < 2 or len(names) < MIN_PARALLEL_RECORDS:
            return map(work, names)
        if self._pool is None:
            # Spawned, not forked: the parent may hold threads (progress display) and open locks.
            pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"))
            self._pool = pool
            self._stack.callback(pool.shutdown, cancel_futures=True)
        chunk = max(1, min(CHUNK, len(names) // (8 * self.workers)))
        return self._pool.map(work, names, chunksize=chunk)


@dataclass(frozen=True, kw_only=True)
class CacheBuild:
    """A source's cache folder, and the records that are being preprocessed for it."""

    source: Source
    digest: str
    path: Path
    names: list[str]
    results: (
        Iterator["RecordExamples | str"] | None
    )  # of each name; None: the folder is there whole


def _begin(
    source: Source, root: Path, task: Task, cache_dir: Path, crew: PreprocessingPool
) -> CacheBuild:
    """Hands the records to the workers, unless the folder is there whole."""
    digest = content_digest(source, root, cache_dir)
    path = _folder_of(source, digest, task, cache_dir)
    if is_complete(path):
        return CacheBuild(source=source, digest=digest, path=path, names=[], results=None)
    # A folder that fails its own sums is of no use to anyone, so it goes first.
    shutil.rmtree(path, ignore_errors=True)
    names = source.records(root)
    results = crew.map(partial(_preprocess, source, root, task.name), names)
    return CacheBuild(source=source, digest=digest, path=path, names=names, results=results)


def find_prepared(source: Source, root: Path, task: Task, cache_dir: Path) -> Path | None:
    """Folder of the source's examples if it is there whole; preprocesses nothing."""
    if not cache_dir.is_dir():
        return None
    digest = content_digest(source, root, cache_dir)
    path = _folder_of(source, digest, task, cache_dir)
    return path if is_complete(path) else None


def _folder_of(source: Source, digest: str, task: Task, cache_dir: Path) -> Path:
    """Where the examples are kept; `digest` is of the files they are made from."""
    key = hashlib.blake2b(
        f"{FORMAT}/{task.settings}/{source!r}/{digest}".encode(), digest_size=10
    ).hexdigest()
    return cache_dir / f"{source.card.name}-{task.name}-{key}"


def content_digest(source: Source, root: Path, cache_dir: Path) -> str:
    """SHA-256 over names and contents of the source's files.

    A file whose size and time of change are as they were is not read again.
    """
    memo_path = cache_dir / "digests.json"
    memo: dict[str, list[object]] = _read_json(memo_path)
    total, changed = hashlib.sha256(), False
    for file in source.files(root):
        try:
            stat = file.stat()
            seen = [stat.st_size, stat.st_mtime_ns]
            key = str(file.resolve())
            known = memo.get(key)
            if known is None or known[:2] != seen:
                known = [*seen, _file_digest(file)]
                memo[key], changed = known, True
            total.update(f"{file.name}:{known[2]}\n".encode())
        except (OSError, ValueError) as error:
            # A folder or an unreadable file in a record's place is that record's verdict later.
            total.update(f"{file.name}:{type(error).__name__}\n".encode())
    if changed:
        write_atomically(memo_path, json.dumps(memo).encode())
    return total.hexdigest()


def open_shard(path: Path) -> Shard:
    """The examples in a cache folder; signals stay on disk until they are used."""
    try:
        facts = json.loads((path / "cache.json").read_text())
        with np.load(path / "index.npz") as index:
            columns = {name: index[name] for name in index.files}
        signals = np.load(path / "signals.npy", mmap_mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: the cache cannot be read ({error}). Delete the folder and run again."
        ) from error
    return Shard(
        path=path,
        source=facts["source"],
        digest=facts["digest"],
        excluded=facts["excluded"],
        prints=facts["prints"],
        signals=signals,
        **columns,
    )


def _read_json(path: Path) -> dict[str, list[object]]:
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_complete(path: Path) -> bool:
    """Whether a cache folder has all its files, as they were written."""
    try:
        facts = json.loads((path / "cache.json").read_text())
        sums: dict[str, str] = facts["sha256"]
        return all(_file_digest(path / name) == sums[name] for name in FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _finish(build: CacheBuild, task: Task, progress: Progress | None) -> None:
    """Write every record's examples to a temporary folder, then give it its name in one step."""
    source, path, names = build.source, build.path, build.names
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        excluded: dict[str, list[str]] = {}
        prints: dict[str, list[str]] = {}
        seen = SeenSignals()
        parts: list[Columns] = []
        chunks: list[NDArray[np.float16]] = []
        results = zip(names, build.results or (), strict=True)
        for done, (name, result) in enumerate(results, start=1):
            verdict = result if isinstance(result, str) else ""
            if not isinstance(result, str) and seen.first_match(name, result[0]):
                verdict = "duplicate"
            if verdict or isinstance(result, str):
                excluded.setdefault(verdict, []).append(name)
            else:
                prints[name] = list(result[0])
                parts.append(result[1])
                chunks.append(result[2])
            if progress is not None:
                progress(done, len(names))
        if not parts:
            reasons = ", ".join(f"{k}: {len(v)}" for k, v in sorted(excluded.items()))
            raise DataError(
                f"{source.card.name}: none of {len(names)} records can be used for "
                f"{task.name} ({reasons}). `python -m fl.datasets check` names each one."
            )
        np.save(temporary / "signals.npy", np.concatenate(chunks))
        np.savez(temporary / "index.npz", allow_pickle=False, **_columns(parts))
        sums = {n: _file_digest(temporary / n) for n in FILES}
        facts = {
            "source": source.card.name,
            "task": task.name,
            "digest": build.digest,
            "excluded": excluded,
            "prints": prints,
            "sha256": sums,
        }
        (temporary / "cache.json").write_text(json.dumps(facts, indent=1))
        try:
            temporary.rename(path)
        except OSError:
            # Another run was faster; its folder holds the same, and replacing it would pull
            # the files from under its workers.
            if not is_complete(path):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# Fingerprints of a recording; what is known of each example; their samples in one row.
RecordExamples = tuple[tuple[str, ...], Columns, NDArray[np.float16]]


def _preprocess(source: Source, root: Path, task_name: str, name: str) -> RecordExamples | str:
    """A record's examples, or its verdict."""
    task = TASKS[task_name]
    try:
        record = source.read(root, name)
        examples = task.cut(record)
    except UnusableRecord as verdict:
        return verdict.reason
    columns, samples = _stored(task, name, record, examples)
    return fingerprints(record.leads, record.signal), columns, samples


def shard_in_memory(task: Task, record: Record, examples: Examples) -> Shard:
    """One recording's examples as a cache would hold them, for a model to be applied to."""
    columns, samples = _stored(task, record.name, record, examples)
    return Shard(
        path=Path(),
        source=record.source,
        digest="",
        excluded={},
        prints={},
        signals=samples,
        **_columns([columns]),
    )


def _stored(
    task: Task, name: str, record: Record, examples: Examples
) -> tuple[Columns, NDArray[np.float16]]:
    """What is known of each example of a recording, and their samples in one row."""
    mask = np.zeros(task.leads, dtype=bool)
    mask[list(examples.leads)] = True
    # A lead's rows follow the task's lead order, whatever the order in the file.
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
        "lead_mask": np.tile(mask, (count, 1)),
        "lengths": np.array([signal.shape[1] for signal in examples.signals], dtype=np.int64),
    }
    samples = [signal[order].astype(np.float16).ravel() for signal in examples.signals]
    return columns, np.concatenate(samples)


def _columns(parts: list[Columns]) -> Columns:
    """The columns of all records, one under the other, and where each example's samples begin."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    twice = [n for n, k in Counter(columns["names"].tolist()).items() if k > 1]
    if twice:
        raise ValueError(f"example names are not unique: {twice[:3]}")
    sizes = columns["lengths"] * columns["lead_mask"].sum(axis=1)
    columns["offsets"] = sizes.cumsum() - sizes
    return columns
