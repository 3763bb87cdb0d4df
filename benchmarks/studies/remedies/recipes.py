"""The two tasks of the study as they ship, and the rows that change one setting each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.beat.recordings import CHOOSING, SOURCES
from benchmarks.studies.beat.splits import folds, with_validation
from benchmarks.studies.rhythm_cv import fold_rows
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare_all
from fl.datasets import DATASETS
from fl.datasets.base import Source
from fl.ecg.tasks import BEAT, BEAT_WAVELET, RHYTHM_SIGNAL, RHYTHM_WAVELET, Task

Rows = NDArray[np.int64]
FOLDS = 3  # of five: their patients are tested
AS_SHIPPED = "as shipped"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of one training; which of them differ from the shipped ones is its name."""

    imbalance: str
    augment: tuple[str, ...]
    passes: int
    simulated: int = 0
    wavelet: bool = False
    dropout: float = -1.0
    weight_decay: float = 0.01
    patience: int = (
        0  # passes without a smaller validation loss, after which training ends; 0: none
    )


@dataclass(frozen=True, kw_only=True)
class StudiedTask:
    """A task with its data, its network and how it is trained where nothing is changed."""

    task: Task
    wavelet_task: Task
    model: str
    batch_size: int
    lr: float
    per_recording: int
    shipped: Recipe
    remedies: tuple[str, ...]  # names of IMBALANCE beside the shipped one
    simulated: int  # recordings in the row that adds simulated ones
    rarest: tuple[str, ...]  # classes whose F1 stands in the table
    sources: dict[str, Source]
    patients: dict[str, int]  # source -> most patients that are used, in order of name
    splits: Callable[[Cohort, int], Iterator[tuple[Rows, Rows, Rows]]]  # train, val, test

    def cohort(self, data: Path, cache: Path, wavelet: bool) -> Cohort:
        """All examples of the patients that are used."""
        task = self.wavelet_task if wavelet else self.task
        paths = prepare_all(self.sources, data, task, cache).values()
        cohort = Cohort.open(task, list(paths)).without_duplicates()[0]
        used = np.ones(len(cohort), dtype=bool)
        for source, most in self.patients.items():
            own = cohort.sources == source
            used[own] = np.isin(cohort.patients[own], np.unique(cohort.patients[own])[:most])
        return cohort.take(np.flatnonzero(used))

    def rows(self) -> dict[str, Recipe]:
        """The rows of the table: as shipped, then one change each."""
        own = self.shipped
        found = {AS_SHIPPED: own}
        found |= {f"imbalance: {name}": replace(own, imbalance=name) for name in self.remedies}
        found[f"{self.simulated} simulated recordings"] = replace(own, simulated=self.simulated)
        found["wavelet filter"] = replace(own, wavelet=True)
        if self.task.exclusive:
            found["shift"] = replace(own, augment=(*own.augment, "shift"))
        found |= {f"dropout {p:g}": replace(own, dropout=p) for p in (0.0, 0.3)}
        found |= {f"weight decay {d:g}": replace(own, weight_decay=d) for d in (0.0, 0.1)}
        found[f"early stopping within {2 * own.passes} passes"] = replace(
            own, passes=2 * own.passes, patience=2
        )
        return found


def _beat_splits(cohort: Cohort, seed: int) -> Iterator[tuple[Rows, Rows, Rows]]:
    for number, (rest, tested) in enumerate(folds(cohort, seed)):
        if number < FOLDS:
            yield *with_validation(cohort, rest, seed, number), tested


def _rhythm_splits(cohort: Cohort, seed: int) -> Iterator[tuple[Rows, Rows, Rows]]:
    for number in range(FOLDS):
        rows = fold_rows(cohort, number, seed)
        yield rows["train"], rows["val"], rows["test"]


# DS2 is not among the sources, so that nothing can be chosen on it.
STUDIED = {
    "beat": StudiedTask(
        task=BEAT,
        wavelet_task=BEAT_WAVELET,
        model=BEAT.model,
        batch_size=BEAT.batch_size,
        lr=BEAT.lr,
        per_recording=BEAT.per_recording,
        shipped=Recipe(imbalance=BEAT.imbalance, augment=BEAT.augment, passes=2),
        remedies=(
            *("none", "balanced", "oversampled", "undersampled", "smote", "weighted", "focal"),
        ),
        simulated=20,
        rarest=("S", "V"),
        sources={name: SOURCES[name] for name in CHOOSING},
        patients={"svdb": 40},
        splits=_beat_splits,
    ),
    "rhythm": StudiedTask(
        task=RHYTHM_SIGNAL,
        wavelet_task=RHYTHM_WAVELET,
        model="cnn1d",
        batch_size=16,
        lr=RHYTHM_SIGNAL.lr,
        per_recording=RHYTHM_SIGNAL.per_recording,
        shipped=Recipe(imbalance=RHYTHM_SIGNAL.imbalance, augment=RHYTHM_SIGNAL.augment, passes=8),
        remedies=("oversampled", "undersampled", "weighted", "focal"),
        simulated=60,
        rarest=("STE", "LBBB"),
        sources={name: DATASETS[name] for name in ("cpsc2018", "cpsc2018-lead1")},
        patients={"cpsc2018-lead1": 450},
        splits=_rhythm_splits,
    ),
}
