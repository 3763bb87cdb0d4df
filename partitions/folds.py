"""Folds of each site's patients, so that every patient of a site is tested once.

In run k of K, fold k of every site is its test set and the others train and validate. Who is at
which site, and who is central or unseen, is the same in every run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.util.errors import ConfigError
from fl.util.random_streams import stream
from partitions.partition import CENTRAL, UNSEEN, Partition
from partitions.splits import SITE_SHARES, TEST, TRAIN, VAL, fill_empty, stratify


def fold_shares(folds: int) -> tuple[float, float, float]:
    """Shares of a site's patients that train, validate and test; without folds the usual ones."""
    if not folds:
        return SITE_SHARES
    validation = SITE_SHARES[1]
    return 1 - validation - 1 / folds, validation, 1 / folds


def with_test_fold(
    partition: Partition, cohort: Cohort, folds: int, fold: int, seed: int
) -> Partition:
    """The partition with one fold of each site's patients as its test set.

    The sites, and central and unseen records, stay as they are. Raises ConfigError if a fold
    would be empty at every site.
    """
    split = partition.split.astype("U5")  # a saved one may have room for `test` alone
    most = 0
    for site in partition.sites:
        rows = partition.rows_at(site)
        names, number = np.unique(cohort.patients[rows], return_inverse=True)
        positive = np.zeros((len(names), len(cohort.task.classes)), dtype=np.int64)
        np.add.at(positive, number, cohort.labels[rows] == 1)
        split[rows] = split_by_fold(positive > 0, folds, fold, seed, site)[number]
        most = max(most, len(names))
    if most < folds:
        raise ConfigError(
            f"--site-folds is {folds}, but the largest site has {most} patients, so that a fold "
            f"would test nobody. Use --site-folds {most} or fewer, or fewer sites."
        )
    return Partition(partition.site, split)


def split_by_fold(
    present: NDArray[np.bool_], folds: int, fold: int, seed: int, site: str
) -> NDArray[np.str_]:
    """train, val or test for each patient of one site: (patient, class) -> (patient,).

    The folds are the same for every `fold`, which is from 1.
    """
    fold_of = deal_folds(present, folds, stream(seed, "folds", site))
    split = np.full(len(present), TEST, dtype="U5")
    others = np.flatnonzero(fold_of != fold)
    share = SITE_SHARES[1] / (1 - 1 / folds)  # so that validation is its usual share of all
    split[others] = _train_and_validate(present[others], share, stream(seed, "folds", site, fold))
    return split


def deal_folds(
    present: NDArray[np.bool_], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The fold, from 1, in which each patient is tested: (patient, class) -> (patient,).

    Folds are equally large and share each class, as far as possible. With fewer patients than
    folds each patient has a fold alone, and in the other folds the site tests nobody.
    """
    if len(present) < folds:
        return 1 + rng.permutation(folds)[: len(present)]
    subset = stratify(present, [1 / folds] * folds, rng)
    return 1 + fill_empty(subset, folds, rng)


def _train_and_validate(
    present: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> NDArray[np.str_]:
    """train or val for each patient: (patient, class) -> (patient,). A single patient trains."""
    names = np.array([TRAIN, VAL])
    n = len(present)
    if n < 3:
        return names[rng.permutation(n)]
    return names[fill_empty(stratify(present, (1 - share, share), rng), 2, rng)]


def smaller_than_folds(rows: Sequence[Mapping[str, Any]], folds: int) -> dict[str, int]:
    """Sites with fewer patients than folds, and their patients; `rows` are those of `site_rows`."""
    return {
        str(row["site"]): int(row["patients"])
        for row in rows
        if row["site"] not in (CENTRAL, UNSEEN) and row["patients"] < folds
    }
