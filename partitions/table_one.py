"""Who the patients of each site are: age, sex and classes, with the unknown ones counted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort

SEXES = {"F": "female", "M": "male"}


def table_one(cohort: Cohort) -> dict[str, Any]:
    """The rows of a "Table 1" about one group of patients.

    A patient counts once, whatever the number of records. Age and sex are those of a patient's
    first record; a patient shows a class, or is annotated for it, if any record does.
    """
    patients, first, of = np.unique(cohort.patients, return_index=True, return_inverse=True)
    return {
        "patients": len(patients),
        "age": _ages(cohort.column("ages").astype(np.float64)[first]),
        "sex": _sexes(cohort.column("sexes")[first].tolist()),
        "classes": _classes(cohort, of, len(patients)),
    }


def _ages(ages: NDArray[np.float64]) -> dict[str, float | int | None]:
    """Median and quartiles in years, of those whose age is known."""
    known = ages[~np.isnan(ages)]
    quartiles = np.percentile(known, [25, 50, 75]).round(1).tolist() if len(known) else [None] * 3
    low, median, high = quartiles
    return {"low": low, "median": median, "high": high, "unknown": len(ages) - len(known)}


def _sexes(sexes: list[str]) -> dict[str, int]:
    counts = {name: sexes.count(code) for code, name in SEXES.items()}
    return counts | {"unknown": len(sexes) - sum(counts.values())}


def _classes(cohort: Cohort, of: NDArray[np.int64], n: int) -> dict[str, dict[str, int]]:
    """Of each class: patients who show it, and who are annotated for it; of the rest it is unknown.

    `of` is the number of each example's patient.
    """
    best = np.full((n, cohort.labels.shape[1]), -1, dtype=np.int8)
    np.maximum.at(best, of, cohort.labels)
    return {
        name: {"positive": int((row == 1).sum()), "annotated": int((row >= 0).sum())}
        for name, row in zip(cohort.task.classes, best.T, strict=True)
    }
