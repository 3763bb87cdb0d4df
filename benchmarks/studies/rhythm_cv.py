"""Five-fold cross-validation of pooled rhythm training: every patient is tested once.

A fold's patients are split again: most train, some validate (thresholds, and every choice), and
the fold's own are tested. Results of one fold are files in a work folder, so that a command that
was stopped goes on, and so that choices can be made from validation without opening the rest.
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
from fl.ecg.tasks import RHYTHM
from fl.models import MODELS
from fl.models.blocks import parameters
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.random_streams import stream, torch_seed
from partitions.splits import stratify

Rows = NDArray[np.int64]

N_FOLDS = 5
VAL_SHARE = 0.15  # of the patients that are not tested


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train; the defaults are what is proposed."""

    model: str = RHYTHM.model
    switches: tuple[tuple[str, Any], ...] = ()  # options of the model that are not its defaults
    epochs: int = 40
    lr: float = 2e-3
    weight_decay: float = 0.01
    batch_size: int = 16
    per_recording: int = RHYTHM.per_recording
    augment: tuple[str, ...] = RHYTHM.augment
    imbalance: str = RHYTHM.imbalance
    ema: float = 0.0
    sources: tuple[str, ...] = field(default=())  # only these train; () for all

    def build(self) -> torch.nn.Module:
        """The network with fresh weights."""
        model: Any = replace(MODELS[self.model], **dict(self.switches))
        network: torch.nn.Module = model.build(
            leads=RHYTHM.leads,
            samples=RHYTHM.samples,
            features=len(RHYTHM.features),
            classes=len(RHYTHM.classes),
        )
        return network

    @property
    def size(self) -> int:
        """Trainable weights."""
        return parameters(self.build())


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: a recipe on one fold of one deal of the patients."""

    recipe: Recipe
    fold: int
    seed: int
    shards: tuple[Path, ...]
    work: Path
    device: str = "cpu"

    @property
    def path(self) -> Path:
        """Where its predictions are."""
        made = repr((self.recipe, MODELS[self.recipe.model], [p.name for p in self.shards]))
        digest = hashlib.sha256(made.encode()).hexdigest()[:16]
        return self.work / f"{digest}-{self.fold}-{self.seed}.npz"


def real_sources(root: Path) -> list[str]:
    """Names of all data sets of real recordings that are there, in the table's order."""
    return [n for n, s in DATASETS.items() if not s.card.synthetic and s.exists(root)]


def prepared(names: Sequence[str], root: Path, cache: Path, workers: int) -> tuple[Path, ...]:
    """Cache folders of the data sets."""
    made = prepare_all(
        {name: DATASETS[name] for name in names}, root, RHYTHM, cache, workers, lambda *step: None
    )
    return tuple(made.values())


def opened(shards: Sequence[Path]) -> Cohort:
    """All examples, each signal once."""
    return Cohort.open(RHYTHM, list(shards)).without_duplicates()[0]


def folds(cohort: Cohort, seed: int) -> NDArray[np.int64]:
    """Fold of each example; a patient is in one, and every source and class in each if it can."""
    return _dealt(cohort, [1 / N_FOLDS] * N_FOLDS, stream(seed, "folds"))


def fold_rows(cohort: Cohort, fold: int, seed: int) -> dict[str, Rows]:
    """Rows that train, validate and are tested when this fold is."""
    of = folds(cohort, seed)
    rest = np.flatnonzero(of != fold)
    shares = [1 - VAL_SHARE, VAL_SHARE]
    part = _dealt(cohort.take(rest), shares, stream(seed, "fold", fold))
    return {"train": rest[part == 0], "val": rest[part == 1], "test": np.flatnonzero(of == fold)}


def _dealt(cohort: Cohort, shares: Sequence[float], rng: np.random.Generator) -> Rows:
    """Subset of each example, patient by patient, by source and by class within source."""
    patients, of = np.unique(cohort.patients, return_inverse=True)
    sources, source = np.unique(cohort.sources, return_inverse=True)
    n_classes = cohort.labels.shape[1]
    present = np.zeros((len(patients), len(sources), n_classes + 1), dtype=bool)
    example, label = np.nonzero(cohort.labels == 1)
    present[of[example], source[example], label] = True
    present[of, source, n_classes] = True
    flat = present.reshape(len(patients), -1)
    return np.asarray(stratify(flat, shares, rng)[of])


def run_fold(job: Job) -> float:
    """Train on a fold and keep what is said of its validation and test; seconds of training."""
    cohort, recipe = opened(job.shards), job.recipe
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
    # A name that np.savez leaves as it is, so that the file is there whole or not at all.
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


def run_missing(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, float]]:
    """Run every job that has no file yet, `workers` at a time."""
    missing = [job for job in jobs if not job.path.exists()]
    if workers == 1 or len(missing) < 2:
        yield from ((job, run_fold(job)) for job in missing)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(run_fold, job): job for job in missing}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def kept(job: Job) -> Mapping[str, NDArray[Any]]:
    """What `run_fold` kept."""
    with np.load(job.path) as found:
        return dict(found)
