"""Patients to subsets of given shares, so that every class is on every side where it can be."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TRAIN, VAL, TEST = "train", "val", "test"
SITE_SHARES = (0.70, 0.15, 0.15)  # of a site's patients: train, validation, test
CENTRAL_SHARES = (0.85, 0.15)  # of a source's patients: sites, central test


def stratify(
    present: NDArray[np.bool_], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Subset of each patient: (patient, class) -> (patient,), the shares kept class by class.

    Iterative stratification: the rarest class is dealt first, each patient to the subset that
    lacks most of it. Source: Sechidis et al. 2011, 10.1007/978-3-642-23808-6_10. We differ in
    one thing: a class that enough patients carry reaches every subset, because a class that
    is missing from a test set cannot be measured.
    """
    n_patients, n_classes = present.shape
    wanted_size = np.array(shares) * n_patients
    wanted = np.stack(
        [_at_least_one(np.array(shares) * n) for n in present.sum(axis=0)], axis=1
    ).reshape(len(shares), n_classes)
    subset = np.full(n_patients, -1, dtype=np.int64)
    shuffled = rng.permutation(n_patients)

    def place(patient: int, lack: NDArray[np.float64]) -> None:
        best = np.flatnonzero(lack >= lack.max() - 1e-9)
        sizes = wanted_size[best]
        chosen = int(best[sizes.argmax()])
        subset[patient] = chosen
        wanted_size[chosen] -= 1
        wanted[chosen, present[patient]] -= 1

    while True:
        left = (present & (subset == -1)[:, None]).sum(axis=0)
        if not left.any():
            break
        rarest = int(np.where(left > 0, left, n_patients + 1).argmin())
        for patient in shuffled:
            if subset[patient] == -1 and present[patient, rarest]:
                place(int(patient), wanted[:, rarest])
    for patient in shuffled:
        if subset[patient] == -1:
            place(int(patient), wanted_size)
    return subset


def split_site(present: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.str_]:
    """train, val or test for each patient of one site: (patient, class) -> (patient,).

    A site's first patient trains, its second validates, its third tests: below that a site has
    no split for the rest, and its measures are "n/a".
    """
    names = np.array([TRAIN, VAL, TEST])
    n = len(present)
    if n < 4:
        return names[rng.permutation(n)]
    subset = stratify(present, SITE_SHARES, rng)
    for lacking in range(3):
        if not (subset == lacking).any():
            largest = np.flatnonzero(subset == np.bincount(subset, minlength=3).argmax())
            subset[rng.choice(largest)] = lacking
    return names[subset]


def _at_least_one(wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raise every subset's wish to one patient, at the cost of the largest, if there are enough."""
    if wanted.sum() < len(wanted):
        return wanted
    raised = np.maximum(wanted, 1.0)
    raised[raised.argmax()] -= raised.sum() - wanted.sum()
    return raised
