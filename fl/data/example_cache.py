"""Preprocessed examples on disk: made once, then read by every worker through one memory map.

There is one folder for each source, task and content; `fl/data/shards.py` describes its files.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.data.content_digest import content_digest
from fl.data.preprocessing import PreprocessingPool, RecordExamples, preprocess
from fl.data.shards import FACTS, INDEX, SIGNALS, Columns, join_columns
from fl.datasets.base import Source, ignores_checksums
from fl.datasets.duplicates import SeenSignals
from fl.ecg.tasks import Task
from fl.util.errors import ConfigError, DataError
from fl.util.file_digest import file_digest

FORMAT = 3
FILES = (SIGNALS, INDEX)  # the files whose checksums are in cache.json
Progress = Callable[[int, int], None]  # records done, records in all


def default_cache_dir() -> Path:
    """`$HEARTFED_CACHE`, else `heartfed` in the user's cache folder."""
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
    """The cache folder of one source's examples: see `prepare_all`."""

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
    """The cache folder of each source's examples, by name; made now if it is not complete.

    `progress` is called with the source's name, its records done and its records in all. Raises
    ConfigError if `cache_dir` cannot be made and DataError if a source has no usable record.

    One pool of worker processes serves all sources, because each process takes a second to start.
    It receives the work of all sources at once, so that no worker waits while a source is written.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--cache-dir: {cache_dir} cannot be made ({error.strerror}). Name a folder you may "
            "write to, or set $HEARTFED_CACHE."
        ) from None
    with ExitStack() as stack:
        pool = PreprocessingPool(workers, stack)
        builds = {
            name: _begin(source, root, task, cache_dir, pool) for name, source in sources.items()
        }
        for name, build in builds.items():
            if build.results is not None:
                _finish(build, task, partial(progress, name) if progress else None)
        return {name: build.path for name, build in builds.items()}


@dataclass(frozen=True, kw_only=True)
class CacheBuild:
    """A source's cache folder, and the records that are being preprocessed for it."""

    source: Source
    digest: str
    path: Path
    names: list[str]
    results: Iterator[RecordExamples | str] | None  # of each name; None: the folder is complete


def _begin(
    source: Source, root: Path, task: Task, cache_dir: Path, pool: PreprocessingPool
) -> CacheBuild:
    """Hands the records to the workers, unless the folder is already complete."""
    digest = content_digest(source, root, cache_dir)
    path = _cache_folder(source, digest, task, cache_dir)
    if is_complete(path):
        return CacheBuild(source=source, digest=digest, path=path, names=[], results=None)
    # A folder that does not match its own checksums is of no use to any run.
    shutil.rmtree(path, ignore_errors=True)
    names = source.record_names(root)
    results = pool.map(partial(preprocess, source, root, task.name), names)
    return CacheBuild(source=source, digest=digest, path=path, names=names, results=results)


def find_prepared(source: Source, root: Path, task: Task, cache_dir: Path) -> Path | None:
    """The cache folder of the source's examples if it is complete; makes nothing."""
    if not cache_dir.is_dir():
        return None
    digest = content_digest(source, root, cache_dir)
    path = _cache_folder(source, digest, task, cache_dir)
    return path if is_complete(path) else None


def _cache_folder(source: Source, digest: str, task: Task, cache_dir: Path) -> Path:
    """Where the examples are kept; `digest` is that of the files they are made from.

    Records that are read in spite of their checksums have a folder of their own.
    """
    ignored = "/ignore-checksums" if ignores_checksums(source) else ""
    key = hashlib.blake2b(
        f"{FORMAT}/{task.preprocessing}/{source!r}/{digest}{ignored}".encode(), digest_size=10
    ).hexdigest()
    return cache_dir / f"{source.card.name}-{task.name}-{key}"


def is_complete(path: Path) -> bool:
    """Whether a cache folder has all its files, exactly as they were written."""
    try:
        facts = json.loads((path / FACTS).read_text())
        sums: dict[str, str] = facts["sha256"]
        return all(file_digest(path / name) == sums[name] for name in FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _finish(build: CacheBuild, task: Task, progress: Progress | None) -> None:
    """Write every record's examples to a temporary folder, then rename it in one step."""
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
            if isinstance(result, str):
                excluded.setdefault(result, []).append(name)
            elif seen.first_match(name, result.fingerprints):
                excluded.setdefault("duplicate", []).append(name)
            else:
                prints[name] = list(result.fingerprints)
                parts.append(result.columns)
                chunks.append(result.samples)
            if progress is not None:
                progress(done, len(names))
        if not parts:
            reasons = ", ".join(f"{k}: {len(v)}" for k, v in sorted(excluded.items()))
            raise DataError(
                f"{source.card.name}: none of {len(names)} records can be used for "
                f"{task.name} ({reasons}). `python -m fl.datasets check` names each one."
            )
        np.save(temporary / SIGNALS, np.concatenate(chunks))
        np.savez(temporary / INDEX, allow_pickle=False, **join_columns(parts))
        facts = {
            "source": source.card.name,
            "task": task.name,
            "digest": build.digest,
            "excluded": excluded,
            "prints": prints,
            "sha256": {name: file_digest(temporary / name) for name in FILES},
        }
        (temporary / FACTS).write_text(json.dumps(facts, indent=1))
        try:
            temporary.rename(path)
        except OSError:
            # Another run was faster. Its folder has the same content, and replacing it would
            # take the files away from that run's workers.
            if not is_complete(path):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
