"""Pooled training on a random split of beats, as much of the literature does it. It leaks.

Beats of one patient are trained on and tested, so that the network may learn the patient. It
stands beside the split by patient to show the difference, and for comparison with the literature.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from benchmarks.studies.models.settings import SETTINGS
from fl.data.cohort import Cohort
from fl.models import build_network
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.random_streams import stream, torch_seed

TEST_SHARE = 0.2  # of the beats
SOURCE = "mitdb"


def measure_random_split(cohort: Cohort, model: str, seed: int) -> dict[str, Any]:
    """Accuracy, macro-F1 and macro-AUROC of beats drawn at random, by the likeliest class.

    The same passes as in the runs. Macro averages take the classes that are trained on, as those
    of a run do; accuracy is the share of all tested beats whose class is right.
    """
    cohort = cohort.take(np.flatnonzero(cohort.sources == SOURCE))
    order = stream(seed, "random split").permutation(len(cohort))
    tested = round(TEST_SHARE * len(order))
    test, train = cohort.take(np.sort(order[:tested])), cohort.take(np.sort(order[tested:]))
    torch.manual_seed(torch_seed(seed, "random split"))
    network = build_network(model, cohort.task)
    fit(network, train, plan_of(cohort, seed, SETTINGS[cohort.task.name].passes))
    return _measures(test, predict(network, test, crops=1))


def plan_of(cohort: Cohort, seed: int, epochs: int) -> TrainingPlan:
    """Training on all examples at one place with the task's own settings."""
    task = cohort.task
    return TrainingPlan(
        seed=seed,
        site="pooled",
        round=1,
        rounds=1,
        epochs=epochs,
        batch_size=task.batch_size,
        lr=task.lr,
        weight_decay=0.01,
        per_recording=SETTINGS[task.name].per_recording,
        augment=task.augment,
        imbalance=task.imbalance,
    )


def _measures(test: Cohort, p: NDArray[np.float64]) -> dict[str, Any]:
    task = test.task
    truth, called = test.labels.argmax(axis=1), p.argmax(axis=1)
    columns = [task.classes.index(name) for name in task.trainable]
    areas = [
        float(roc_auc_score(truth == c, p[:, c]))
        for c in columns
        if 0 < (truth == c).sum() < len(p)
    ]
    counts = np.zeros((len(task.classes), len(task.classes)), dtype=np.int64)
    np.add.at(counts, (truth, called), 1)
    return {
        "accuracy": float(accuracy_score(truth, called)),
        "macro_f1": float(
            f1_score(truth, called, labels=columns, average="macro", zero_division=0.0)
        ),
        "macro_auroc": float(np.mean(areas)) if areas else None,
        "confusion": counts.tolist(),
        "n": len(p),
    }
