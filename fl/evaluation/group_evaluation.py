"""The measures of one group of examples, with intervals by patient.


Within one source the unit of a figure is the example (a record, a window or a beat), and
`n_patients` stands beside it. Over several sources it is the sources' mean, weighted by patients.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.evaluation.bootstrap import (
    MIN_INTERVAL_PATIENTS,
    BootstrapEstimate,
    bootstrap_estimates,
    interval,
    weighted_mean,
)
from fl.evaluation.decisions.decision_rule import DecisionRule, answer
from fl.evaluation.metrics import (
    MEASURES,
    ClassMeasures,
    Group,
    Labels,
    Probs,
    Scores,
    mean_of,
    scores,
    scores_of_groups,
)
from fl.evaluation.predictions import Predictions
from fl.util.json_record import JsonRecord

SEXES = {"F": "female", "M": "male"}
AGE_BANDS = {
    "under 50": (0, 50),
    "50 to 64": (50, 65),
    "65 to 79": (65, 80),
    "80 and over": (80, 200),
}
MACROS = ("precision", "recall", "auprc", "brier", "ece")  # averaged, without an interval
DRAWS = 1000  # of the bootstrap
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
    rule: DecisionRule,
    seed: int,
) -> GroupMeasures:
    """Measure a network's probabilities of these examples, as the rule calibrates and decides."""
    calibrated, predicted = answer(rule, p, cohort.sources, cohort.task.classes)
    return evaluate_predicted(cohort, calibrated, predicted, seed)


def evaluate_predicted(
    cohort: Cohort, p: NDArray[np.float64], predicted: NDArray[np.bool_], seed: int
) -> GroupMeasures:
    """Measure the classes that were predicted: (example, class).

    Intervals are of 95%, by 1,000 bootstrap draws of patients; None where patients are too few.
    """
    return evaluate_groups([Answered(cohort, p, predicted)], seed)[0]


@dataclass(frozen=True)
class Answered:
    """Examples, their reported probabilities and their predicted classes: (example, class)."""

    cohort: Cohort
    p: NDArray[np.float64]
    predicted: NDArray[np.bool_]


def evaluate_groups(groups: Sequence[Answered], seed: int) -> list[GroupMeasures]:
    """`evaluate_predicted` of several groups of one task at once."""
    return [
        _measured(found, one, seed)[0] for found, one in zip(_scores(groups), groups, strict=True)
    ]


def evaluate_predictions(
    predictions: Predictions, seed: int, averaged: Collection[str] | None = None
) -> GroupMeasures:
    """Measure predictions from their file alone: as `evaluate_predicted`, without subgroups.

    `averaged`: the classes that macro averages may take; None: all.
    """
    labels, p, decided = predictions.labels, predictions.probabilities, predictions.decided
    found = scores(labels, p, decided, predictions.classes, predictions.patient, averaged=averaged)
    return _with_intervals(found, labels, p, decided, predictions.patient, seed)[0]


def evaluate_sources(
    cohort: Cohort, p: NDArray[np.float64], predicted: NDArray[np.bool_], seed: int
) -> tuple[GroupMeasures, dict[str, GroupMeasures]]:
    """The mean over the sources, weighted by their patients, and the measures of each source.

    By examples, the many windows of a few patients of one source would be most of the figure.
    """
    by_source: dict[str, GroupMeasures] = {}
    figures: list[dict[str, BootstrapEstimate]] = []
    answered = [
        Answered(cohort.by_source[source], p[rows], predicted[rows])
        for source, rows in cohort.rows_of_sources.items()
    ]
    for source, found, one in zip(cohort.by_source, _scores(answered), answered, strict=True):
        by_source[source], drawn = _measured(found, one, seed, source, part=True)
        figures.append(drawn)
    parts = list(by_source.values())
    if len(parts) == 1:
        return parts[0], by_source
    weights = [part.n_patients for part in parts]
    estimates = {
        name: _estimate(weighted_mean([found[name] for found in figures], weights), sum(weights))
        for name in figures[0]
    }
    mean = _mean_scores(parts, weights) | estimates
    return GroupMeasures(**mean, subgroups=_subgroups(cohort, p, predicted)), by_source


def _measured(
    found: Scores, answered: Answered, seed: int, group: str = "", part: bool = False
) -> tuple[GroupMeasures, dict[str, BootstrapEstimate]]:
    """The measures of examples as one group, and its macro averages with their draws.

    `part`: as of `_with_intervals`.
    """
    cohort, p, predicted = answered.cohort, answered.p, answered.predicted
    measures, figures = _with_intervals(
        found, cohort.labels, p, predicted, cohort.patients, seed, group, part
    )
    subgroups = _subgroups(cohort, p, predicted)
    return measures.model_copy(update={"subgroups": subgroups}), figures


def _with_intervals(
    found: Scores,
    labels: Labels,
    p: Probs,
    predicted: NDArray[np.bool_],
    patients: NDArray[np.str_],
    seed: int,
    group: str = "",
    part: bool = False,
) -> tuple[GroupMeasures, dict[str, BootstrapEstimate]]:
    """The scores with intervals of their macro averages, and these averages with their draws.

    A group of too few patients for an interval is drawn only if it is `part` of a larger one.
    """
    n_patients = len(set(patients.tolist()))
    draws = DRAWS if part or n_patients >= MIN_INTERVAL_PATIENTS else 0
    figures = bootstrap_estimates(found, labels, p, predicted, patients, seed, draws, group=group)
    estimates = {name: _estimate(figure, n_patients) for name, figure in figures.items()}
    return GroupMeasures(**dict(found) | estimates, n_patients=n_patients), figures


def _scores(groups: Sequence[Answered], *, brief: bool = False) -> list[Scores]:
    """Scores of each group; macro averages are over classes that the task trains."""
    if not groups:
        return []
    task = groups[0].cohort.task
    return scores_of_groups(
        [
            Group(
                labels=one.cohort.labels,
                p=one.p,
                predicted=one.predicted,
                patients=one.cohort.patients,
            )
            for one in groups
        ],
        task.classes,
        averaged=task.trainable,
        brief=brief,
    )


def _estimate(figure: BootstrapEstimate, n_patients: int) -> Estimate:
    low, high = interval(figure, n_patients)
    return Estimate(value=figure.value, low=low, high=high)


def _mean_scores(parts: Sequence[GroupMeasures], weights: Sequence[float]) -> dict[str, Any]:
    """Every field of `GroupMeasures` without an interval, as a mean over sources."""
    names = [name for name in parts[0].classes if any(name in p.macro_classes for p in parts)]
    means = {
        name: _weighted([getattr(part, name) for part in parts], weights)
        for name in ("accuracy", *(f"macro_{m}" for m in MACROS))
    }
    return means | {
        "n_records": sum(part.n_records for part in parts),
        "n_patients": sum(part.n_patients for part in parts),
        "macro_classes": tuple(names),
        "classes": {
            name: _mean_class([part.classes[name] for part in parts], weights)
            for name in parts[0].classes
        },
    }


def _mean_class(parts: Sequence[ClassMeasures], weights: Sequence[float]) -> ClassMeasures:
    """One class over the sources: counts are sums, each measure is that of those that have it.

    The prevalence is that of the same sources, so that it stays what chance gives for AUPRC.
    """
    measured = [part.f1 is not None for part in parts]
    prevalences = [
        part.prevalence if known or not any(measured) else None
        for part, known in zip(parts, measured, strict=True)
    ]
    return ClassMeasures(
        n=sum(part.n for part in parts),
        positive=sum(part.positive for part in parts),
        patients=sum(part.patients for part in parts),
        positive_patients=sum(part.positive_patients for part in parts),
        prevalence=_weighted(prevalences, weights),
        **{m: _weighted([getattr(part, m) for part in parts], weights) for m in MEASURES},
    )


def _weighted(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """Mean of those that could be measured."""
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    total = math.fsum(w for _, w in known)
    return math.fsum(v * w for v, w in known) / total if total else None


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


def _subgroups(
    cohort: Cohort, p: NDArray[np.float64], predicted: NDArray[np.bool_]
) -> dict[str, dict[str, SubgroupMeasures | None]]:
    """The parts of a group by sex and age."""
    return {
        kind: {name: _subgroup(cohort, p, predicted, rows) for name, rows in parts.items()}
        for kind, parts in (("sex", by_sex(cohort)), ("age", by_age(cohort)))
    }


def _subgroup(
    cohort: Cohort, p: NDArray[np.float64], predicted: NDArray[np.bool_], rows: NDArray[np.bool_]
) -> SubgroupMeasures | None:
    """Measures of a part of a group, a mean over its sources too; None if it is too small.

    Measures of a handful of patients tell more about each of them than about the model.
    """
    if len(set(cohort.patients[rows].tolist())) < MIN_SUBGROUP_PATIENTS:
        return None
    of_source = [np.flatnonzero(rows & (cohort.sources == s)) for s in np.unique(cohort.sources)]
    kept = [chosen for chosen in of_source if len(chosen)]
    parts = _scores([Answered(cohort.take(c), p[c], predicted[c]) for c in kept], brief=True)
    n_patients = [len(set(cohort.patients[chosen].tolist())) for chosen in kept]
    return SubgroupMeasures(
        n_patients=sum(n_patients),
        n_records=int(rows.sum()),
        macro_f1=_weighted([part.macro_f1 for part in parts], n_patients),
        macro_auroc=_weighted([part.macro_auroc for part in parts], n_patients),
        macro_classes=tuple(
            name
            for name in cohort.task.classes
            if any(name in part.macro_classes for part in parts)
        ),
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
