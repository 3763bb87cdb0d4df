"""Splits of MIT-BIH's beats, and one network trained on all training beats of a split."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.data.example_cache import prepare_all
from fl.datasets.mitdb import MITDB
from fl.ecg.tasks import BEAT7
from fl.models import MODELS
from fl.training.loop import OptimizerState, TrainingPlan, fit, predict
from fl.util.random_streams import stream, torch_seed
from partitions.patients import patients_of_source
from partitions.splits import stratify

Rows = NDArray[np.int64]
SHARES = (0.8, 0.1, 0.1)  # of the beats: training, validation, test
WATCHED = 2000  # validation beats that are looked at after each pass


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of the cohort."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained."""

    model: str  # a name of MODELS
    passes: int
    lr: float
    per_recording: int = 0  # most beats of a recording in a pass, before N is thinned; 0: all
    batch_size: int = BEAT7.batch_size
    weight_decay: float = 0.01


def mitdb_beats(data: Path, cache: Path) -> Cohort:
    """Every example of the beat7 task in MIT-BIH."""
    return Cohort.open(BEAT7, list(prepare_all({"mitdb": MITDB}, data, BEAT7, cache).values()))


def random_split(cohort: Cohort, seed: int) -> Split:
    """Beats at random, as in most published work: the same patients' beats are on every side."""
    order = stream(seed, "beat7", "random split").permutation(len(cohort))
    cuts = np.rint(np.cumsum(SHARES[:-1]) * len(cohort)).astype(int)
    train, validation, test = np.split(order, cuts)
    return Split(train=np.sort(train), validation=np.sort(validation), test=np.sort(test))


def patient_split(cohort: Cohort) -> Split:
    """DS1 and two paced records against DS2 and the other two, as in every run of the simulation.

    No patient is on both sides: record 201, whose patient is that of 202, is tested. There is no
    validation, because nothing is chosen.
    """
    found = patients_of_source(cohort, "mitdb", 0)
    test = found.central[found.number]
    none = np.zeros(0, dtype=np.int64)
    return Split(train=found.rows[~test], validation=none, test=found.rows[test])


def choosing_splits(cohort: Cohort, seed: int) -> list[Split]:
    """Two halves of the training patients, each validated on by a network that the other trains.

    The test patients are not looked at.
    """
    train = patient_split(cohort).train
    patients, number = np.unique(cohort.patients[train], return_inverse=True)
    present = np.zeros((len(patients), len(BEAT7.classes)), dtype=bool)
    np.logical_or.at(present, number, cohort.labels[train] == 1)
    half = stratify(present, (0.5, 0.5), stream(seed, "beat7", "choose"))[number]
    none = np.zeros(0, dtype=np.int64)
    return [Split(train=train[half != k], validation=train[half == k], test=none) for k in (0, 1)]


def train(cohort: Cohort, split: Split, recipe: Recipe, seed: int) -> torch.nn.Module:
    """A network after the last pass; each pass prints its loss, and the accuracy of validation."""
    torch.manual_seed(torch_seed(seed, "init"))
    network = MODELS[recipe.model].build(
        leads=BEAT7.leads, samples=BEAT7.samples, features=0, classes=len(BEAT7.classes)
    )
    trained = cohort.take(split.train)
    watched = cohort.take(stream(seed, "beat7", "watched").permutation(split.validation)[:WATCHED])
    state: OptimizerState | None = None
    for number in range(1, recipe.passes + 1):
        began = time.monotonic()
        plan = TrainingPlan(
            seed=seed,
            site="all",
            round=number,
            rounds=recipe.passes,
            epochs=1,
            batch_size=recipe.batch_size,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            per_recording=recipe.per_recording,
            augment=BEAT7.augment,
            imbalance=BEAT7.imbalance,
        )
        result = fit(network, trained, plan, state)
        state = result.state
        seconds = time.monotonic() - began
        line = f"pass {number} of {recipe.passes}: loss {result.loss_sum / result.n_seen:.4f}"
        line += f", {result.n_seen / seconds:.0f} pictures/s"
        if len(watched):
            right = predict(network, watched).argmax(axis=1) == watched.labels.argmax(axis=1)
            line += f", {100 * right.mean():.2f}% of {len(watched)} validation beats right"
        print(line, flush=True)
    return network


def result_of(cohort: Cohort, split: Split, recipe: Recipe, seed: int) -> dict[str, Any]:
    """The confusion matrix of a network on the test beats, of which it names the likeliest class.

    Cells by true and predicted class, with how long the training took.
    """
    began = time.monotonic()
    network = train(cohort, split, recipe, seed)
    seconds = time.monotonic() - began
    test = cohort.take(split.test)
    answers = predict(network, test).argmax(axis=1)
    return {
        "confusion": confusion(test.labels.argmax(axis=1), answers).tolist(),
        "patients": test.count_patients(test.labels == 1).tolist(),
        "trained_on": len(split.train),
        "seconds": seconds,
    }


def chosen_by(cohort: Cohort, recipe: Recipe, seed: int) -> list[list[int]]:
    """The confusion matrix over both halves of the training patients."""
    size = len(BEAT7.classes)
    total = np.zeros((size, size), dtype=np.int64)
    for split in choosing_splits(cohort, seed):
        network = train(cohort, split, recipe, seed)
        held = cohort.take(split.validation)
        total += confusion(held.labels.argmax(axis=1), predict(network, held).argmax(axis=1))
    found: list[list[int]] = total.tolist()
    return found


def confusion(
    truth: NDArray[np.int64], answers: NDArray[np.int64], classes: Sequence[str] = BEAT7.classes
) -> NDArray[np.int64]:
    """Beats by true class (row) and predicted class (column)."""
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (truth, answers), 1)
    return counts
