"""How well a model does: per-class measures, thresholds, and intervals by patient.

Labels are (example, class) with 1 yes, 0 no, -1 not annotated; an example that does not
annotate a class says nothing about it. A measure that cannot be had is None, never 0 or nan.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.calibration import expected_calibration_error, reliability

Labels = NDArray[np.int8]
Probs = NDArray[np.float64]
Scores = dict[str, Any]
# What is measured of each class; a class without a positive or a negative has None for all.
MEASURES = ("precision", "recall", "f1", "auroc", "auprc", "brier", "ece", "accuracy")


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
    """Every measure of one group of examples, by scikit-learn; if `brief`, F1 and AUROC alone.

    A macro average takes the classes with at least one positive and one negative annotated
    example, and `macro_classes` names them. `accuracy` is the mean one-vs-rest accuracy over
    them: it is high for rare classes whatever the model does, so read it beside macro-F1.
    """
    per_class = _class_scores(labels, p, predicted, brief)
    measured = [c for c, entry in zip(classes, per_class, strict=True) if entry["f1"] is not None]
    means = {m: mean_of([entry[m] for entry in per_class]) for m in MEASURES}
    return {
        "n_records": len(labels),
        "macro_classes": measured,
        **{f"macro_{m}": mean for m, mean in means.items() if m != "accuracy"},
        "accuracy": means["accuracy"],
        "classes": dict(zip(classes, per_class, strict=True)),
    }


def _class_scores(
    labels: Labels, p: Probs, predicted: NDArray[np.bool_], brief: bool
) -> list[dict[str, float | int | None]]:
    """Each class against the rest, over the examples that annotate it.

    AUPRC is average precision; chance gives the prevalence, so it stands beside it.
    """
    known = labels >= 0
    entries, together = [], dict[bytes, list[int]]()
    for c in range(labels.shape[1]):
        n, n_positive = int(known[:, c].sum()), int((labels[:, c] == 1).sum())
        entry: dict[str, float | int | None] = {"n": n, "positive": n_positive}
        entries.append(
            entry | {"prevalence": n_positive / n if n else None} | dict.fromkeys(MEASURES)
        )
        if 0 < n_positive < n:
            together.setdefault(known[:, c].tobytes(), []).append(c)
    for columns in together.values():
        rows = known[:, columns[0]]
        truth, guess = labels[rows][:, columns] == 1, predicted[rows][:, columns]
        for c, found in zip(
            columns, _measures(truth, p[rows][:, columns], guess, brief), strict=True
        ):
            entries[c] |= found
    return entries


def _measures(
    truth: NDArray[np.bool_], p: Probs, guess: NDArray[np.bool_], brief: bool
) -> list[dict[str, float]]:
    """The measures of several classes that the same examples annotate: (example, class) each.

    At once, because of a small group scikit-learn takes longer to check its input than to measure.
    """
    # Imported here: it takes as long as a small round, and workers need it on test alone.
    from sklearn.metrics import (
        average_precision_score,
        brier_score_loss,
        precision_recall_fscore_support,
        roc_auc_score,
    )

    # What has one column would pass for binary labels, and be averaged over both.
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
