"""How well a model does: the measures of each class, and their means over the classes.

Labels are (example, class) with 1 yes, 0 no, -1 not annotated; an example that does not
annotate a class says nothing about it. A measure that cannot be computed is None, never 0 or nan.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.patient_counts import count_by_patient
from fl.evaluation.calibration import expected_calibration_error, recalibration, reliability
from fl.util.imports.fast_import import import_fast
from fl.util.json_record import JsonRecord

Labels = NDArray[np.int8]
Probs = NDArray[np.float64]
# A macro average takes a class only if at least so many patients show it, and as many do not: F1
# and AUROC of fewer tell who these few are.
MIN_MACRO_PATIENTS = 5
# Measures that are averaged over the classes.
AVERAGED = ("precision", "recall", "f1", "auroc", "auprc", "brier", "ece", "accuracy")
# What is measured of each class; a class without a positive or a negative has None for all.
MEASURES = (
    *("precision", "recall", "specificity", "npv", "f1", "auroc", "auprc", "brier", "brier_skill"),
    *("ece", "calibration_slope", "calibration_intercept", "accuracy"),
)


class ClassMeasures(JsonRecord):
    """How well one class is told from the rest, over the examples that annotate it.

    AUPRC is average precision; chance gives the prevalence, so it stands beside it. The slope and
    the intercept of the calibration need `MIN_MACRO_PATIENTS` with and without the class.
    """

    n: int  # examples that annotate the class
    positive: int  # of these, how many show it
    patients: int  # with an example that annotates the class
    positive_patients: int  # with an example that shows it
    prevalence: float | None
    precision: float | None  # positive predictive value
    recall: float | None  # sensitivity
    specificity: float | None
    npv: float | None  # negative predictive value
    f1: float | None
    auroc: float | None
    auprc: float | None
    brier: float | None
    brier_skill: float | None  # 1 perfect, 0 as good as always answering the prevalence
    ece: float | None  # expected calibration error
    calibration_slope: float | None  # 1 ideal, below 1 too extreme; each patient counts once
    calibration_intercept: float | None  # 0 ideal, below 0 too high; each patient counts once
    accuracy: float | None


class Scores(JsonRecord):
    """The measures of one group of examples, without intervals.

    A macro average takes the classes that at least `MIN_MACRO_PATIENTS` patients show and as many
    do not, and `macro_classes` names them. `accuracy` is the mean one-vs-rest accuracy over
    them: it is high for rare classes whatever the model does, so read it beside macro-F1.
    """

    n_records: int
    macro_classes: tuple[str, ...]
    macro_precision: float | None
    macro_recall: float | None
    macro_f1: float | None
    macro_auroc: float | None
    macro_auprc: float | None
    macro_brier: float | None
    macro_ece: float | None
    accuracy: float | None
    classes: dict[str, ClassMeasures]


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of those that could be measured."""
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Examples that are measured together: what they show, and how a model answered them."""

    labels: Labels  # (example, class)
    p: Probs  # (example, class)
    predicted: NDArray[np.bool_]  # (example, class)
    patients: NDArray[np.str_]  # (example,)


def scores(
    labels: Labels,
    p: Probs,
    predicted: NDArray[np.bool_],
    classes: Sequence[str],
    patients: NDArray[np.str_],
    *,
    averaged: Collection[str] | None = None,
    brief: bool = False,
) -> Scores:
    """Every measure of one group of examples, by scikit-learn or from its confusion matrices.

    If `brief`, only F1 and AUROC. `patients`: (example,). `averaged` are the classes that macro
    averages may take; None: all.
    """
    group = Group(labels=labels, p=p, predicted=predicted, patients=patients)
    return scores_of_groups([group], classes, averaged=averaged, brief=brief)[0]


def scores_of_groups(
    groups: Sequence[Group],
    classes: Sequence[str],
    *,
    averaged: Collection[str] | None = None,
    brief: bool = False,
) -> list[Scores]:
    """`scores` of each group, with fewer calls of scikit-learn: small groups share them."""
    counts = [count_patients(group.labels, group.patients) for group in groups]
    measured = _class_measures(groups, counts, brief)
    return [
        _scores(len(group.labels), classes, of_classes, count.macro_columns(classes, averaged))
        for group, count, of_classes in zip(groups, counts, measured, strict=True)
    ]


def _scores(
    n_records: int, classes: Sequence[str], measured: Sequence[ClassMeasures], macro: Sequence[int]
) -> Scores:
    """The scores of one group; `macro` are the columns of the classes that are averaged."""
    means = {m: mean_of([getattr(measured[c], m) for c in macro]) for m in AVERAGED}
    return Scores(
        n_records=n_records,
        macro_classes=tuple(classes[c] for c in macro),
        **{f"macro_{m}": mean for m, mean in means.items() if m != "accuracy"},
        accuracy=means["accuracy"],
        classes=dict(zip(classes, measured, strict=True)),
    )


@dataclass(frozen=True)
class PatientCounts:
    """How many patients stand behind each class; one can be both positive and negative."""

    who: NDArray[np.int64]  # (example,) its patient, as a number
    annotated: NDArray[np.int64]  # (class,) patients with an example that annotates the class
    positive: NDArray[np.int64]  # (class,) with an example that shows it
    negative: NDArray[np.int64]  # (class,) with an annotated example that does not

    def enough(self, c: int) -> bool:
        """Whether enough patients show class c and enough do not."""
        return bool(min(self.positive[c], self.negative[c]) >= MIN_MACRO_PATIENTS)

    def macro_columns(self, classes: Sequence[str], averaged: Collection[str] | None) -> list[int]:
        """Columns of the classes that a macro average takes."""
        return [
            c
            for c, name in enumerate(classes)
            if self.enough(c) and (averaged is None or name in averaged)
        ]


def count_patients(labels: Labels, patients: NDArray[np.str_]) -> PatientCounts:
    """Count the patients behind each class."""
    names, who = np.unique(patients, return_inverse=True)

    def people(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        shown = count_by_patient(rows, who, len(names)) > 0
        return np.asarray(shown.sum(axis=0), dtype=np.int64)

    return PatientCounts(who, people(labels >= 0), people(labels == 1), people(labels == 0))


@dataclass(frozen=True)
class _Columns:
    """Classes that the same examples of a group annotate, and that some of these show."""

    group: int
    rows: NDArray[np.bool_]  # (example,) those that annotate them
    classes: list[int]

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Their part of an array of the group: (example, class) both."""
        return values[self.rows][:, self.classes]


def _class_measures(
    groups: Sequence[Group], counts: Sequence[PatientCounts], brief: bool
) -> list[list[ClassMeasures]]:
    """Each class of each group against the rest."""
    measured: list[list[dict[str, float]]] = [
        [{} for _ in range(group.labels.shape[1])] for group in groups
    ]
    alike: dict[tuple[int, ...], list[_Columns]] = {}
    for number, group in enumerate(groups):
        for columns in _columns_of(number, group.labels):
            # NumPy adds the values of a single column in another order than those of several.
            alone = (number, *columns.classes) if len(columns.classes) == 1 else ()
            alike.setdefault((int(columns.rows.sum()), *alone), []).append(columns)
    for several in alike.values():
        _measure_columns(groups, counts, several, brief, measured)
    return [
        _of_classes(group.labels, count, of_classes)
        for group, count, of_classes in zip(groups, counts, measured, strict=True)
    ]


def _columns_of(number: int, labels: Labels) -> list[_Columns]:
    """The classes of a group that can be measured, together where the same examples have them."""
    known = labels >= 0
    n, n_positive = known.sum(axis=0).tolist(), (labels == 1).sum(axis=0).tolist()
    together: dict[bytes, list[int]] = {}
    for c in range(labels.shape[1]):
        if 0 < n_positive[c] < n[c]:
            together.setdefault(known[:, c].tobytes(), []).append(c)
    return [_Columns(number, known[:, classes[0]], classes) for classes in together.values()]


def _measure_columns(
    groups: Sequence[Group],
    counts: Sequence[PatientCounts],
    several: Sequence[_Columns],
    brief: bool,
    measured: list[list[dict[str, float]]],
) -> None:
    """Measure columns of as many examples each, and put what is found into `measured`."""
    found = iter(
        _measures(
            np.hstack([one.of(groups[one.group].labels) == 1 for one in several]),
            np.hstack([one.of(groups[one.group].p) for one in several]),
            np.hstack([one.of(groups[one.group].predicted) for one in several]),
            brief,
        )
    )
    for one in several:
        group, count = groups[one.group], counts[one.group]
        for c in one.classes:
            measured[one.group][c] = next(found)
            if count.enough(c) and not brief:
                shown, p = group.labels[one.rows, c] == 1, group.p[one.rows, c]
                measured[one.group][c] |= recalibration(shown, p, count.who[one.rows])


def _of_classes(
    labels: Labels, counts: PatientCounts, measured: Sequence[dict[str, float]]
) -> list[ClassMeasures]:
    """The measures of one group by class, with the numbers of examples and patients."""
    n, n_positive = (labels >= 0).sum(axis=0).tolist(), (labels == 1).sum(axis=0).tolist()
    return [
        ClassMeasures(
            n=n[c],
            positive=n_positive[c],
            patients=int(counts.annotated[c]),
            positive_patients=int(counts.positive[c]),
            prevalence=n_positive[c] / n[c] if n[c] else None,
            **{name: measured[c].get(name) for name in MEASURES},
        )
        for c in range(labels.shape[1])
    ]


def _measures(
    truth: NDArray[np.bool_], p: Probs, guess: NDArray[np.bool_], brief: bool
) -> list[dict[str, float]]:
    """The measures of several columns of as many examples each: (example, column).

    All at once, because scikit-learn takes longer to check a small group than to measure it.
    """
    # Imported here: it takes as long as a small round, and workers need it only on test.
    import_fast("sklearn.metrics")
    from sklearn import config_context
    from sklearn.metrics import average_precision_score, mean_squared_error, roc_auc_score

    # What kind its parameters are is known here, and takes a seventh of the time of a small group.
    with config_context(skip_parameter_validation=True):
        decided = _decision_measures(truth, guess)
        measured = {"f1": decided["f1"], "auroc": roc_auc_score(truth, p, average=None)}
        if not brief:
            # The Brier score is the mean squared error; `brier_score_loss` takes one class a call.
            brier = mean_squared_error(truth, p, multioutput="raw_values")
            pairs = zip(truth.T, p.T, strict=True)
            measured |= {
                **decided,
                "auprc": average_precision_score(truth, p, average=None),
                "brier": brier,
                "brier_skill": 1 - brier / truth.var(axis=0),  # of always answering the prevalence
                "ece": [expected_calibration_error(reliability(t, q)) for t, q in pairs],
                "accuracy": (truth == guess).mean(axis=0),
            }
    columns = {name: np.atleast_1d(values).tolist() for name, values in measured.items()}
    return [{k: float(v[c]) for k, v in columns.items()} for c in range(truth.shape[1])]


def _decision_measures(
    truth: NDArray[np.bool_], guess: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """What the decisions of each class are worth; 0 where nothing is there to be divided by."""
    from sklearn.metrics import multilabel_confusion_matrix

    # One column would be taken for labels with two classes, each with a matrix.
    one = truth.shape[1] == 1
    given = (truth[:, 0], guess[:, 0]) if one else (truth, guess)
    counts = multilabel_confusion_matrix(*given)[-truth.shape[1] :].astype(np.float64)
    (tn, fp), (fn, tp) = counts.transpose(1, 2, 0)

    def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    return {
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "specificity": share(tn, tn + fp),
        "npv": share(tn, tn + fn),
        "f1": share(2 * tp, 2 * tp + fp + fn),
    }
