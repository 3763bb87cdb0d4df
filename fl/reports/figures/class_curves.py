"""The curves of one group's predictions: ROC, precision-recall, reliability.

An example is what the model classifies: a record, a 10 s window of a long record, or a beat.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.metrics import auc, precision_recall_curve, roc_curve

from fl.evaluation import calibration
from fl.evaluation.calibration import CalibrationBin
from fl.evaluation.decisions.thresholds import Thresholds
from fl.evaluation.metrics import MIN_MACRO_PATIENTS, count_patients
from fl.evaluation.predictions import Predictions
from fl.reports.figures.svg import REFERENCE, Drawing, canvas, class_ink, inline, styled
from fl.reports.number_format import number

ENOUGH = (
    f"Drawn are the classes that at least {MIN_MACRO_PATIENTS} patients show and "
    f"{MIN_MACRO_PATIENTS} do not."
)


def drawn_classes(predictions: Predictions) -> list[int]:
    """Columns of the classes that enough patients show and enough do not, as of macro averages."""
    counts = count_patients(predictions.labels, predictions.patient)
    return [c for c in range(len(predictions.classes)) if counts.enough(c)]


@styled
def roc(predictions: Predictions) -> Drawing | None:
    """ROC curves, a line per class; the dot is the decision rule. None if nothing to draw."""
    classes = drawn_classes(predictions)
    if not classes:
        return None
    figure, axes = canvas(3.9)
    axes.plot([0, 1], [0, 1], color=REFERENCE, linewidth=0.8)
    for c in classes:
        known = predictions.labels[:, c] >= 0
        truth, guess = predictions.labels[known, c] == 1, predictions.decided[known, c]
        x, y, _ = roc_curve(truth, predictions.probabilities[known, c])
        label = f"{predictions.classes[c]} {number(float(auc(x, y)))}"
        axes.plot(x, y, color=class_ink(c), label=label, linewidth=1.3)
        axes.plot(
            [guess[~truth].mean()], [guess[truth].mean()], "o", color=class_ink(c), markersize=4
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="1 - specificity (false positive rate)")
    axes.set(ylabel="sensitivity (true positive rate)")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7)
    return inline(
        figure,
        "roc",
        "ROC curves, one line per class, with the AUROC beside its name. The dot is the decision "
        f"rule in use; the grey line is chance. {ENOUGH}",
    )


@styled
def precision_recall(predictions: Predictions) -> Drawing | None:
    """Precision-recall curves, a line per class; the dot is the decision rule. None if empty."""
    classes = drawn_classes(predictions)
    if not classes:
        return None
    figure, axes = canvas(3.9)
    for c in classes:
        known = predictions.labels[:, c] >= 0
        truth, guess = predictions.labels[known, c] == 1, predictions.decided[known, c]
        y, x, _ = precision_recall_curve(truth, predictions.probabilities[known, c])
        label = f"{predictions.classes[c]} ({number(float(truth.mean()))})"
        axes.step(x, y, where="post", color=class_ink(c), label=label, linewidth=1.3)
        if guess.any():
            point = [guess[truth].mean()], [truth[guess].mean()]
            axes.plot(*point, "o", color=class_ink(c), markersize=4)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="sensitivity (recall)", ylabel="positive predictive value (precision)")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7)
    return inline(
        figure,
        "pr",
        "Precision-recall curves, one line per class. The number in brackets is the prevalence, "
        f"the precision that chance would reach. The dot is the decision rule in use. {ENOUGH}",
    )


@styled
def reliability(predictions: Predictions, thresholds: Thresholds | None = None) -> Drawing | None:
    """Reliability diagram: observed share by predicted probability, a line per class; or None."""
    known = {c: _bins(predictions, c) for c in drawn_classes(predictions)}
    if not known:
        return None
    figure, axes = canvas(3.9)
    axes.plot([0, 1], [0, 1], color=REFERENCE, linewidth=0.8)
    for c, rows in known.items():
        name = predictions.classes[c]
        x, y = [b.mean_p for b in rows], [b.observed for b in rows]
        axes.plot(x, y, color=class_ink(c), marker=".", label=name, linewidth=1.2)
        if thresholds and name in thresholds:
            axes.plot([thresholds[name]] * 2, [-0.02, 0.03], color=class_ink(c), linewidth=2)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="predicted probability (mean of bin)", ylabel="observed share of positives")
    figure.legend(loc="outside upper left", ncols=5, frameon=False, fontsize=7)
    note = " The short marks at the bottom are the chosen thresholds." if thresholds else ""
    return inline(
        figure,
        "reliability",
        "Reliability diagram, one line per class: the share of positives in each bin of predicted "
        "probabilities. On the grey line the two agree; below it the model is overconfident."
        f"{note} {ENOUGH}",
    )


def _bins(predictions: Predictions, c: int) -> list[CalibrationBin]:
    annotated = predictions.labels[:, c] >= 0
    return calibration.reliability(
        predictions.labels[annotated, c] == 1, predictions.probabilities[annotated, c]
    )


def at_thresholds(
    predictions: Predictions,
    thresholds: Mapping[str, Thresholds] | None,
    classes: Sequence[str],
) -> list[dict[str, Any]]:
    """Of the examples predicted to show a class: their mean probability and the share that do.

    `thresholds` of a class are those of the sources of its examples: empty if it has none, None
    where each fold has its own.
    """
    rows = []
    sources = sorted(set(predictions.source.tolist()))
    for c, name in enumerate(classes):
        chosen = (predictions.labels[:, c] >= 0) & predictions.decided[:, c]
        n = int(chosen.sum())
        rows.append(
            {
                "name": name,
                "thresholds": _used(thresholds, sources, name) if thresholds else None,
                "n": n,
                "mean_p": float(predictions.probabilities[chosen, c].mean()) if n else None,
                "observed": float((predictions.labels[chosen, c] == 1).mean()) if n else None,
            }
        )
    return rows


def _used(thresholds: Mapping[str, Thresholds], sources: Sequence[str], name: str) -> list[float]:
    """The different thresholds of a class at these sources, lowest first."""
    tables = [thresholds.get(source, thresholds["pooled"]) for source in sources]
    return sorted({table[name] for table in tables if name in table})
