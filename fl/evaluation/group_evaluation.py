"""Measures of one group of examples, with intervals by patient."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.evaluation.bootstrap import bootstrap_macro, draw_patients, interval
from fl.evaluation.metrics import scores
from fl.evaluation.thresholds import Thresholds, decide

SEXES = {"F": "female", "M": "male"}
AGE_BANDS = {
    "under 50": (0, 50),
    "50 to 64": (50, 65),
    "65 to 79": (65, 80),
    "80 and over": (80, 200),
}
MIN_SUBGROUP_PATIENTS = 5  # in a part by sex or age, else it is not measured


def evaluate_group(
    cohort: Cohort,
    p: NDArray[np.float64],
    thresholds: Mapping[str, Thresholds] | None,
    seed: int,
) -> dict[str, Any]:
    """Scores of these examples, decided by thresholds or, without, by the most probable class."""
    predicted = decide(p, cohort.sources, thresholds, cohort.task.classes)
    return evaluate_predicted(cohort, p, predicted, seed)


def evaluate_predicted(
    cohort: Cohort, p: NDArray[np.float64], predicted: NDArray[np.bool_], seed: int
) -> dict[str, Any]:
    """Scores of what was said; macro-F1 and macro-AUROC as {"value", "low", "high"}.

    Intervals: the middle 95% of 1,000 bootstrap draws of patients; None where they are too few.
    """
    classes = cohort.task.classes
    found = scores(cohort.labels, p, predicted, classes)
    draws = bootstrap_macro(cohort.labels, p, predicted, draw_patients(cohort.patients, seed))
    for name in ("macro_f1", "macro_auroc"):
        known = found[name] is not None
        low, high = interval(draws[name]) if known else (None, None)
        found[name] = {"value": found[name], "low": low, "high": high}
    return found | {
        "n_patients": len(set(cohort.patients.tolist())),
        "subgroups": {
            "sex": {
                name: _part(cohort, p, predicted, rows) for name, rows in by_sex(cohort).items()
            },
            "age": {
                name: _part(cohort, p, predicted, rows) for name, rows in by_age(cohort).items()
            },
        },
    }


def by_sex(cohort: Cohort) -> dict[str, NDArray[np.bool_]]:
    """Which examples are of a woman, and which of a man, where it is known."""
    sexes = cohort.column("sexes")
    return {name: np.asarray(sexes == code) for code, name in SEXES.items()}


def by_age(cohort: Cohort) -> dict[str, NDArray[np.bool_]]:
    """Which examples are of each age band (years), where the age is known."""
    ages = cohort.column("ages").astype(np.float64)
    return {
        name: np.asarray((ages >= low) & (ages < high)) for name, (low, high) in AGE_BANDS.items()
    }


def _part(
    cohort: Cohort, p: NDArray[np.float64], predicted: NDArray[np.bool_], rows: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Measures of a part of a group, decided by the same thresholds; None if it is too small.

    A part of a handful of patients says more of each of them than of the model.
    """
    n_patients = len(set(cohort.patients[rows].tolist()))
    if n_patients < MIN_SUBGROUP_PATIENTS:
        return None
    found = scores(cohort.labels[rows], p[rows], predicted[rows], cohort.task.classes, brief=True)
    measures = {
        name: found[name] for name in ("n_records", "macro_f1", "macro_auroc", "macro_classes")
    }
    return {"n_patients": n_patients} | measures
