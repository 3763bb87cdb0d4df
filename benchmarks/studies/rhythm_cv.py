"""Five-fold cross-validation of pooled rhythm training: every patient is tested once.

In each fold, most of the other patients train, some validate (for thresholds and every choice),
and the fold's own patients are tested. The results of each fold are a file in a work folder, so
that a stopped command can continue, and choices can be made without reading the test results.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.data.example_cache import prepare_all
from fl.datasets import DATASETS
from fl.ecg.tasks import RHYTHM_SIGNAL, TASKS, Task
from fl.models import MODELS
from fl.models.blocks import parameters
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.random_streams import stream, torch_seed
from partitions.splits import stratify

Rows = NDArray[np.int64]

N_FOLDS = 5
VAL_SHARE = 0.15  # of the patients that are not tested


@dataclass(frozen=True, kw_only=True)
class RhythmRecipe:
    """The settings of one training; the defaults are the proposed ones."""

    task: str = RHYTHM_SIGNAL.name
    model: str = RHYTHM_SIGNAL.model
    switches: tuple[tuple[str, Any], ...] = ()  # options of the model that are not its defaults
    epochs: int = 40
    lr: float = 2e-3
    weight_decay: float = 0.01
    batch_size: int = 16
    per_recording: int = RHYTHM_SIGNAL.per_recording
    augment: tuple[str, ...] = RHYTHM_SIGNAL.augment
    imbalance: str = RHYTHM_SIGNAL.imbalance
    ema: float = 0.0
    sources: tuple[str, ...] = field(default=())  # the sources that train; () for all

    def build(self) -> torch.nn.Module:
        """The network with fresh weights."""
        model: Any = replace(MODELS[self.model], **dict(self.switches))
        task = TASKS[self.task]
        network: torch.nn.Module = model.build(
            leads=task.leads,
            samples=task.samples,
            features=len(task.features),
            classes=len(task.classes),
        )
        return network

    @property
    def size(self) -> int:
        """Trainable weights."""
        return parameters(self.build())


@dataclass(frozen=True, kw_only=True)
class FoldJob:
    """One training: a recipe on one fold, with the folds drawn by one seed."""

    recipe: RhythmRecipe
    fold: int
    seed: int
    shards: tuple[Path, ...]
    work: Path
    device: str = "cpu"

    @property
    def path(self) -> Path:
        """The file of its predictions."""
        made = repr((self.recipe, MODELS[self.recipe.model], [p.name for p in self.shards]))
        digest = hashlib.sha256(made.encode()).hexdigest()[:16]
        return self.work / f"{digest}-{self.fold}-{self.seed}.npz"


def real_sources(root: Path) -> list[str]:
    """Names of all data sets of real recordings in a folder, in the table's order."""
    return [n for n, s in DATASETS.items() if not s.card.synthetic and s.exists(root)]


def prepared(
    names: Sequence[str], root: Path, cache: Path, workers: int, task: Task = RHYTHM_SIGNAL
) -> tuple[Path, ...]:
    """Cache folders of the data sets."""
    made = prepare_all(
        {name: DATASETS[name] for name in names},
        root,
        task,
        cache,
        workers,
        lambda *step: None,
    )
    return tuple(made.values())


def opened(shards: Sequence[Path], task: Task = RHYTHM_SIGNAL) -> Cohort:
    """All examples, without duplicate signals."""
    return Cohort.open(task, list(shards)).without_duplicates()[0]


def folds(cohort: Cohort, seed: int) -> NDArray[np.int64]:
    """Fold of each example. A patient is in one fold; sources and classes are spread evenly."""
    return _stratified(cohort, [1 / N_FOLDS] * N_FOLDS, stream(seed, "folds"))


def fold_rows(cohort: Cohort, fold: int, seed: int) -> dict[str, Rows]:
    """Rows that train, validate and are tested in one fold."""
    fold_of = folds(cohort, seed)
    rest = np.flatnonzero(fold_of != fold)
    shares = [1 - VAL_SHARE, VAL_SHARE]
    part = _stratified(cohort.take(rest), shares, stream(seed, "fold", fold))
    test = np.flatnonzero(fold_of == fold)
    return {"train": rest[part == 0], "val": rest[part == 1], "test": test}


def _stratified(cohort: Cohort, shares: Sequence[float], rng: np.random.Generator) -> Rows:
    """Subset of each example: whole patients, stratified by source and class within source."""
    patients, patient = np.unique(cohort.patients, return_inverse=True)
    sources, source = np.unique(cohort.sources, return_inverse=True)
    n_classes = cohort.labels.shape[1]
    present = np.zeros((len(patients), len(sources), n_classes + 1), dtype=bool)
    example, label = np.nonzero(cohort.labels == 1)
    present[patient[example], source[example], label] = True
    present[patient, source, n_classes] = True
    flat = present.reshape(len(patients), -1)
    return np.asarray(stratify(flat, shares, rng)[patient])


def run_fold(job: FoldJob) -> float:
    """Train on a fold and store its validation and test predictions; returns the seconds."""
    recipe = job.recipe
    cohort = opened(job.shards, TASKS[recipe.task])
    rows = fold_rows(cohort, job.fold, job.seed)
    train = cohort.take(rows["train"])
    if recipe.sources:
        train = train.take(np.flatnonzero(np.isin(train.sources, recipe.sources)))
    torch.manual_seed(torch_seed(job.seed, "init", recipe.model))
    network = recipe.build()
    plan = TrainingPlan(
        seed=job.seed,
        site=f"fold-{job.fold}",
        round=1,
        rounds=1,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        per_recording=recipe.per_recording,
        augment=recipe.augment,
        imbalance=recipe.imbalance,
        ema=recipe.ema,
        device=job.device,
    )
    began = time.monotonic()
    fitted = fit(network, train, plan)
    seconds = time.monotonic() - began
    predicted = {
        s: predict(network, cohort.take(rows[s]), device=job.device) for s in ("val", "test")
    }
    job.work.mkdir(parents=True, exist_ok=True)
    # np.savez adds no suffix to this name, so that it can be renamed once it is complete.
    part = job.path.with_suffix(".part.npz")
    np.savez(
        part,
        seconds=seconds,
        steps=fitted.steps,
        n_seen=fitted.n_seen,
        **{f"{s}_rows": rows[s] for s in predicted},
        **{f"{s}_p": p for s, p in predicted.items()},
    )
    part.rename(job.path)
    return seconds


def run_missing(jobs: Sequence[FoldJob], workers: int) -> Iterator[tuple[FoldJob, float]]:
    """Run every job that has no file yet, `workers` at a time."""
    missing = [job for job in jobs if not job.path.exists()]
    if workers == 1 or len(missing) < 2:
        yield from ((job, run_fold(job)) for job in missing)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(run_fold, job): job for job in missing}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def stored_fold(job: FoldJob) -> Mapping[str, NDArray[Any]]:
    """The predictions that `run_fold` stored."""
    with np.load(job.path) as file:
        return dict(file)
