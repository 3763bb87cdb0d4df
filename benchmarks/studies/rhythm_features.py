"""What each group of features of the rhythm networks is worth by itself.

    python -m benchmarks.studies.rhythm_features --data-dir DATA [--cache-dir CACHE]

A logistic line over the features of one group, and of all, by class: trained on some patients and
measured on others, in five folds over the patients that are in no test set of this study. Test
patients, a fifth of all, are left out: nothing is chosen on them. Each patient counts once,
whatever the number of its records and windows.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.studies.rhythm_cv import N_FOLDS, folds
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare_all
from fl.datasets import DATASETS
from fl.datasets.source_selection import DEFAULT_SOURCES
from fl.ecg.rhythm.features import GROUPS, feature_names
from fl.ecg.tasks import RHYTHM_FEATURES

TASK = RHYTHM_FEATURES["all"]
SEED = 18
SHOWN = ("AF", "PAC", "PVC", "RBBB", "STD", "STE", "IAVB", "LBBB", "NSR")
STRENGTH = 0.3  # inverse of the ridge penalty
MIN_PATIENTS = 5  # with a class, and without it: fewer say nothing


def columns_of(groups: Sequence[str]) -> list[int]:
    """The columns of the features of these groups."""
    return [TASK.features.index(name) for name in feature_names(groups)]


def weights_by_patient(patients: NDArray[np.str_]) -> NDArray[np.float64]:
    """(example,) one over the number of examples of the same patient."""
    _, patient, counts = np.unique(patients, return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[patient])


def held_out_scores(cohort: Cohort, columns: list[int]) -> NDArray[np.float64]:
    """Log-odds of each class by a line that was trained on other patients: (example, class).

    nan where a class is not annotated, or where a fold has too few patients to train on.
    """
    fold_of, features = folds(cohort, SEED + 1), cohort.features[:, columns]
    scores = np.full(cohort.labels.shape, np.nan)
    for c in range(len(TASK.classes)):
        known = cohort.labels[:, c] >= 0
        for fold in range(N_FOLDS):
            train, held = known & (fold_of != fold), known & (fold_of == fold)
            truth = cohort.labels[train, c] == 1
            if min(truth.sum(), (~truth).sum()) < MIN_PATIENTS or not held.any():
                continue
            line = LogisticRegression(C=STRENGTH, max_iter=2000)
            line.fit(features[train], truth, weights_by_patient(cohort.patients[train]))
            scores[held, c] = line.decision_function(features[held])
    return scores


def auroc(cohort: Cohort, scores: NDArray[np.float64], c: int) -> tuple[float, int]:
    """AUROC of a class, each patient counting once, and the patients with it; nan if too few."""
    rows = np.isfinite(scores[:, c])
    truth, patients = cohort.labels[rows, c] == 1, cohort.patients[rows]
    positive, negative = (len(np.unique(patients[is_one])) for is_one in (truth, ~truth))
    if min(positive, negative) < MIN_PATIENTS:
        return float("nan"), positive
    weights = weights_by_patient(patients)
    return float(roc_auc_score(truth, scores[rows, c], sample_weight=weights)), positive


def table(cohort: Cohort, source: str, scores: dict[str, NDArray[np.float64]]) -> Iterator[str]:
    """The lines of a table: groups of features, classes; the last row counts patients."""
    rows = np.flatnonzero(cohort.sources == source)
    part = cohort.take(rows)
    yield f"\n{source}: {len(np.unique(part.patients))} patients, {len(rows)} examples\n"
    yield "| features | " + " | ".join(SHOWN) + " |"
    yield "| --- |" + " ---: |" * len(SHOWN)
    positives: list[str] = []
    for name, of_all in scores.items():
        found = [auroc(part, of_all[rows], TASK.classes.index(c)) for c in SHOWN]
        cells = ["n/a" if np.isnan(value) else f"{value:.3f}" for value, _ in found]
        positives = [str(n) for _, n in found]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield "| patients with it | " + " | ".join(positives) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for each source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--cache-dir", type=Path, default=None)
    parser.add_argument("--sources", default=",".join(DEFAULT_SOURCES[TASK.name]))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    sources = {name: DATASETS[name] for name in options.sources.split(",")}
    cache = options.cache_dir or default_cache_dir()
    shards = prepare_all(sources, options.data_dir, TASK, cache, options.workers)
    cohort = Cohort.open(TASK, list(shards.values())).without_duplicates()[0]
    cohort = cohort.take(np.flatnonzero(folds(cohort, SEED) != 0))  # fold 0 is for tests
    chosen = {group: [group] for group in GROUPS} | {"all": list(GROUPS)}
    chosen |= {f"all but {group}": [g for g in GROUPS if g != group] for group in GROUPS}
    scores = {name: held_out_scores(cohort, columns_of(groups)) for name, groups in chosen.items()}
    print("AUROC of a logistic line on patients that did not train it; each patient counts once.")
    for source in sources:
        print("\n".join(table(cohort, source, scores)))


if __name__ == "__main__":
    main()
