"""Who trains, who validates and who is tested: always by patient, but for one split that says so.

A split is a pair of rows (example,) of a cohort.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.datasets.mitdb import DS2, SAME_PATIENT
from fl.util.errors import DataError
from fl.util.random_streams import stream

Rows = NDArray[np.int64]

# Folds over the records of DS1. Patients with many S or V beats, and the two with fibrillation
# (201, 203), are spread by hand: with five random folds, one of them would lack a class.
FOLDS = (
    ("209", "106", "115", "116"),
    ("201", "119", "108", "122", "101"),
    ("207", "124", "203", "112"),
    ("118", "208", "109", "230"),
    ("220", "223", "114", "205", "215"),
)
VALIDATION_SHARE = 0.15  # of the training patients of each source
MIN_VALIDATION = 4  # patients of each source


def folds(cohort: Cohort, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Rows that train or validate and rows that are tested, of each of FOLDS.

    The other sources' patients are dealt to the folds by a permutation that depends on the seed.
    """
    tested = [[f"mitdb:{name}" for name in records] for records in FOLDS]
    for source in sorted(set(cohort.sources.tolist()) - {"mitdb"}):
        patients = np.unique(cohort.patients[cohort.sources == source])
        order = stream(seed, "beat folds", source).permutation(patients)
        for fold, dealt in zip(tested, np.array_split(order, len(FOLDS)), strict=True):
            fold += dealt.tolist()
    for fold in tested:
        test = np.isin(cohort.patients, fold)
        yield np.flatnonzero(~test), np.flatnonzero(test)


def with_validation(cohort: Cohort, rows: Rows, seed: int, *name: str | int) -> tuple[Rows, Rows]:
    """Rows that train and rows that validate: a few patients of each source are taken away.

    The patients of a source are drawn by a stream of its own, so they do not depend on whether
    other sources train. Raises DataError if a source has too few patients.
    """
    chosen: list[str] = []
    sources, patients = cohort.sources[rows], cohort.patients[rows]
    for source in np.unique(sources).tolist():
        own = np.unique(patients[sources == source])
        count = max(MIN_VALIDATION, round(VALIDATION_SHARE * len(own)))
        if count >= len(own):
            raise DataError(
                f"{source}: {len(own)} patients to train and validate on, and {count} are needed "
                f"for validation alone. Use the whole data set."
            )
        chosen += stream(seed, "validation", source, *name).permutation(own)[:count].tolist()
    validates = np.isin(patients, chosen)
    return rows[~validates], rows[validates]


def of_sources(cohort: Cohort, sources: Sequence[str]) -> Rows:
    """Rows of these sources; of all if none is named."""
    if not sources:
        return np.arange(len(cohort))
    return np.flatnonzero(np.isin(cohort.sources, list(sources)))


def strict(cohort: Cohort, rows: Rows) -> Rows:
    """The rows without 201 of DS1, because the same man is tested as 202 in DS2."""
    twins = [f"mitdb:{SAME_PATIENT.get(name, name)}" for name in DS2]
    return rows[~np.isin(cohort.patients[rows], twins)]


def random_beats(cohort: Cohort, seed: int) -> tuple[Rows, Rows, Rows]:
    """Rows that train, validate and are tested, drawn beat by beat: half of them are tested.

    It leaks, as every patient is in all three; for comparison only.
    """
    order = stream(seed, "intra").permutation(len(cohort))
    half = len(order) // 2
    validating = round(VALIDATION_SHARE * half)
    parts = np.split(order, [half - validating, half])
    train, validate, test = (np.sort(part) for part in parts)
    return train, validate, test
