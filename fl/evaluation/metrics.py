"""How well a model does: the measures of each class, and their means over the classes.

Labels are (example, class) with 1 yes, 0 no, -1 not annotated; an example that does not
annotate a class says nothing about it. A measure that cannot be computed is None, never 0 or nan.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.calibration import expected_calibration_error, reliability
from fl.util.json_record import JsonRecord

Labels = NDArray[np.int8]
Probs = NDArray[np.float64]
# What is measured of each class; a class without a positive or a negative has None for all.
MEASURES = ("precision", "recall", "f1", "auroc", "auprc", "brier", "ece", "accuracy")


class ClassMeasures(JsonRecord):
    """How well one class is told from the rest, over the examples that annotate it.

    AUPRC is average precision; chance gives the prevalence, so it stands beside it.
    """

    n: int  # examples that annotate the class
    positive: int  # of these, how many show it
    prevalence: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    auroc: float | None
    auprc: float | None
    brier: float | None
    ece: float | None  # expected calibration error
    accuracy: float | None


class Scores(JsonRecord):
    """The measures of one group of examples, without intervals.

    A macro average takes the classes with at least one positive and one negative annotated
    example, and `macro_classes` names them. `accuracy` is the mean one-vs-rest accuracy over
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


def scores(
    labels: Labels,
    p: Probs,
    predicted: NDArray[np.bool_],
    classes: Sequence[str],
    *,
    brief: bool = False,
) -> Scores:
    """Every measure of one group of examples, by scikit-learn; if `brief`, only F1 and AUROC."""
    per_class = _class_measures(labels, p, predicted, brief)
    named = dict(zip(classes, per_class, strict=True))
    means = {m: mean_of([getattr(one, m) for one in per_class]) for m in MEASURES}
    return Scores(
        n_records=len(labels),
        macro_classes=tuple(name for name, one in named.items() if one.f1 is not None),
        **{f"macro_{m}": mean for m, mean in means.items() if m != "accuracy"},
        accuracy=means["accuracy"],
        classes=named,
    )


def _class_measures(
    labels: Labels, p: Probs, predicted: NDArray[np.bool_], brief: bool
) -> list[ClassMeasures]:
    """Each class against the rest. Classes that the same examples annotate are measured at once."""
    known = labels >= 0
    n, n_positive = known.sum(axis=0).tolist(), (labels == 1).sum(axis=0).tolist()
    measured: list[dict[str, float]] = [{} for _ in n]
    together: dict[bytes, list[int]] = {}
    for c in range(labels.shape[1]):
        if 0 < n_positive[c] < n[c]:
            together.setdefault(known[:, c].tobytes(), []).append(c)
    for columns in together.values():
        rows = known[:, columns[0]]
        truth, guess = labels[rows][:, columns] == 1, predicted[rows][:, columns]
        found = _measures(truth, p[rows][:, columns], guess, brief)
        for c, measures in zip(columns, found, strict=True):
            measured[c] = measures
    return [
        ClassMeasures(
            n=n[c],
            positive=n_positive[c],
            prevalence=n_positive[c] / n[c] if n[c] else None,
            **{name: measured[c].get(name) for name in MEASURES},
        )
        for c in range(labels.shape[1])
    ]


def _measures(
    truth: NDArray[np.bool_], p: Probs, guess: NDArray[np.bool_], brief: bool
) -> list[dict[str, float]]:
    """The measures of several classes that the same examples annotate: (example, class) each.

    All at once, because scikit-learn takes longer to check a small group than to measure it.
    """
    # Imported here: it takes as long as a small round, and workers need it only on test.
    from sklearn.metrics import (
        average_precision_score,
        brier_score_loss,
        precision_recall_fscore_support,
        roc_auc_score,
    )

    # One column would be taken for binary labels, and be averaged over both.
    one = truth.shape[1] == 1
    shape = {"average": "binary"} if one else {"average": None}
    given = (truth[:, 0], guess[:, 0]) if one else (truth, guess)
    precision, recall, f1, _ = precision_recall_fscore_support(*given, zero_division=0.0, **shape)
    measured = {"f1": f1, "auroc": roc_auc_score(truth, p, average=None)}
    if not brief:
        measured |= {
            "precision": precision,
            "recall": recall,
            "auprc": average_precision_score(truth, p, average=None),
            "brier": [brier_score_loss(t, q) for t, q in zip(truth.T, p.T, strict=True)],
            "ece": [
                expected_calibration_error(reliability(t, q))
                for t, q in zip(truth.T, p.T, strict=True)
            ],
            "accuracy": (truth == guess).mean(axis=0),
        }
    columns = {name: np.atleast_1d(values).tolist() for name, values in measured.items()}
    return [{k: float(v[c]) for k, v in columns.items()} for c in range(truth.shape[1])]
