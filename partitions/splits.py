"""Splits patients into subsets of given shares, with every class in every subset if possible."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TRAIN, VAL, TEST = "train", "val", "test"
SITE_SHARES = (0.70, 0.15, 0.15)  # of a site's patients: train, validation, test
CENTRAL_SHARES = (0.85, 0.15)  # of a source's patients: sites, central test


def stratify(
    present: NDArray[np.bool_], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Number of each patient's subset: (patient, class) -> (patient,), in the shares given.

    Each class is divided in these shares, as far as possible, and so are the patients who show
    none of the classes. Iterative stratification: the rarest class is dealt first, each of its
    patients to the subset that still needs most of it. Source: Sechidis et al. 2011,
    10.1007/978-3-642-23808-6_10. We differ in one thing: a class that enough patients have reaches
    every subset, because a class that is missing from a test set cannot be measured.
    """
    present = np.column_stack([present, ~present.any(axis=1)])  # the last: none of the classes
    n_patients, n_classes = present.shape
    missing_size = np.array(shares) * n_patients  # (subset,) patients that it still needs
    missing = np.stack(  # (subset, class) patients of the class that it still needs
        [_at_least_one(np.array(shares) * n) for n in present.sum(axis=0)], axis=1
    ).reshape(len(shares), n_classes)
    subset = np.full(n_patients, -1, dtype=np.int64)
    shuffled = rng.permutation(n_patients)

    def place(patient: int, need: NDArray[np.float64]) -> None:
        neediest = np.flatnonzero(need >= need.max() - 1e-9)
        chosen = int(neediest[missing_size[neediest].argmax()])
        subset[patient] = chosen
        missing_size[chosen] -= 1
        missing[chosen, present[patient]] -= 1

    while True:
        undealt = (present & (subset == -1)[:, None]).sum(axis=0)  # (class,) patients
        if not undealt.any():
            break
        rarest = int(np.where(undealt > 0, undealt, n_patients + 1).argmin())
        for patient in shuffled:
            if subset[patient] == -1 and present[patient, rarest]:
                place(int(patient), missing[:, rarest])
    return subset


def split_site(present: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.str_]:
    """train, val or test for each patient of one site: (patient, class) -> (patient,).

    A site with one patient only trains, with two it also validates, and with three it also
    tests; measures of a split that it does not have are "n/a".
    """
    names = np.array([TRAIN, VAL, TEST])
    n = len(present)
    if n < 4:
        return names[rng.permutation(n)]
    return names[fill_empty(stratify(present, SITE_SHARES, rng), 3, rng)]


def fill_empty(
    subset: NDArray[np.int64], n_subsets: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Give each subset without patients one of the largest subset: (patient,) -> (patient,).

    There must be at least as many patients as subsets.
    """
    filled = subset.copy()
    for empty in range(n_subsets):
        if not (filled == empty).any():
            largest = np.bincount(filled, minlength=n_subsets).argmax()
            filled[rng.choice(np.flatnonzero(filled == largest))] = empty
    return filled


def _at_least_one(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each subset at least one of a class's patients, taken from the largest subset.

    (subset,) numbers of patients -> the same; unchanged if there are fewer patients than subsets.
    """
    if counts.sum() < len(counts):
        return counts
    raised = np.maximum(counts, 1.0)
    raised[raised.argmax()] -= raised.sum() - counts.sum()
    return raised
