"""The measures of one group of examples, with intervals by patient."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.evaluation.bootstrap import bootstrap_macro, draw_patients, interval
from fl.evaluation.decision_rule import DecisionRule, answer
from fl.evaluation.metrics import ClassMeasures, mean_of, scores
from fl.util.json_record import JsonRecord

SEXES = {"F": "female", "M": "male"}
AGE_BANDS = {
    "under 50": (0, 50),
    "50 to 64": (50, 65),
    "65 to 79": (65, 80),
    "80 and over": (80, 200),
}
MIN_SUBGROUP_PATIENTS = 5  # of one sex or age band; fewer are not measured


class Estimate(JsonRecord):
    """A measure with its 95% interval; None where it, or its interval, cannot be computed."""

    value: float | None
    low: float | None
    high: float | None


class SubgroupMeasures(JsonRecord):
    """The measures of the patients of one sex or age band."""

    n_patients: int
    n_records: int
    macro_f1: float | None
    macro_auroc: float | None
    macro_classes: tuple[str, ...]


class GroupMeasures(JsonRecord):
    """The measures of one group of records, as summary.json has them.

    Macro averages and `accuracy` are as in `metrics.Scores`.
    """

    n_records: int
    macro_classes: tuple[str, ...]
    macro_precision: float | None
    macro_recall: float | None
    macro_f1: Estimate
    macro_auroc: Estimate
    macro_auprc: float | None
    macro_brier: float | None
    macro_ece: float | None
    accuracy: float | None
    classes: dict[str, ClassMeasures]
    n_patients: int
    # By `sex` and `age`, then by name; None where the patients are too few. A hospital does not
    # send these.
    subgroups: dict[str, dict[str, SubgroupMeasures | None]] | None = None

    def estimate(self, metric: str) -> Estimate:
        """The macro average with an interval: `macro_f1` or `macro_auroc`."""
        found: Estimate = getattr(self, metric)
        return found


def evaluate_group(
    cohort: Cohort,
    p: NDArray[np.float64],
    rule: DecisionRule | None,
    seed: int,
) -> GroupMeasures:
    """Measure a network's probabilities of these examples, as the rule calibrates and decides."""
    calibrated, predicted = answer(rule, p, cohort.sources, cohort.task.classes)
    return evaluate_predicted(cohort, calibrated, predicted, seed)


def evaluate_predicted(
    cohort: Cohort, p: NDArray[np.float64], predicted: NDArray[np.bool_], seed: int
) -> GroupMeasures:
    """Measure the classes that were predicted: (example, class).

    Intervals: the middle 95% of 1,000 bootstrap draws of patients; None where they are too few.
    """
    found = scores(cohort.labels, p, predicted, cohort.task.classes)
    draws = bootstrap_macro(cohort.labels, p, predicted, draw_patients(cohort.patients, seed))

    def estimate(value: float | None, drawn: NDArray[np.float64]) -> Estimate:
        low, high = (None, None) if value is None else interval(drawn)
        return Estimate(value=value, low=low, high=high)

    subgroups = {
        kind: {name: _subgroup(cohort, p, predicted, rows) for name, rows in parts.items()}
        for kind, parts in (("sex", by_sex(cohort)), ("age", by_age(cohort)))
    }
    return GroupMeasures(
        **dict(found)
        | {
            "macro_f1": estimate(found.macro_f1, draws["macro_f1"]),
            "macro_auroc": estimate(found.macro_auroc, draws["macro_auroc"]),
            "n_patients": len(set(cohort.patients.tolist())),
            "subgroups": subgroups,
        }
    )


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


def _subgroup(
    cohort: Cohort, p: NDArray[np.float64], predicted: NDArray[np.bool_], rows: NDArray[np.bool_]
) -> SubgroupMeasures | None:
    """Measures of a part of a group, decided by the same thresholds; None if it is too small.

    Measures of a handful of patients tell more about each of them than about the model.
    """
    n_patients = len(set(cohort.patients[rows].tolist()))
    if n_patients < MIN_SUBGROUP_PATIENTS:
        return None
    found = scores(cohort.labels[rows], p[rows], predicted[rows], cohort.task.classes, brief=True)
    return SubgroupMeasures(
        n_patients=n_patients,
        n_records=found.n_records,
        macro_f1=found.macro_f1,
        macro_auroc=found.macro_auroc,
        macro_classes=found.macro_classes,
    )


def mean_over_models(models: Sequence[Any]) -> Any:
    """Several models' measures of the same records as one: each figure is the models' mean.

    Takes `GroupMeasures`, dicts of them, or None for all. A mean of models has no interval here
    (`low` and `high` are None). Counts and class names, being of the same records, stay.
    """
    first = models[0]
    if isinstance(first, Estimate):
        value = mean_over_models([one.value for one in models])
        return Estimate(value=value, low=None, high=None)
    if isinstance(first, JsonRecord):
        given = first.model_fields_set
        means = {name: mean_over_models([getattr(m, name) for m in models]) for name in given}
        return type(first)(**means)
    if isinstance(first, dict):
        return {key: mean_over_models([one[key] for one in models]) for key in first}
    if isinstance(first, tuple) or all(one == first for one in models):
        return first
    return mean_of(models)
