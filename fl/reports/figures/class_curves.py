"""The figures and tables of one group's predictions: decisions, ROC, precision-recall, calibration.

An example is what the model classifies: a record, a 10 s window of a long record, or a beat.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from fl.evaluation import calibration
from fl.evaluation.calibration import CalibrationBin
from fl.evaluation.predictions import Predictions
from fl.evaluation.thresholds import Thresholds
from fl.reports.figures.svg import Drawing, canvas, dash, ink, inline, styled
from fl.reports.number_format import number


def measurable(predictions: Predictions) -> list[int]:
    """Columns of the classes of which the group has both positive and negative examples."""
    return [
        c
        for c in range(len(predictions.classes))
        if (predictions.labels[:, c] == 1).any() and (predictions.labels[:, c] == 0).any()
    ]


@styled
def label_counts(counts: Mapping[str, Mapping[str, int]], unit: str) -> Drawing:
    """How many examples of one site show each class, by split."""
    names, splits = list(counts), ("train", "val", "test")
    figure, axes = canvas(1.0 + 0.26 * len(names))
    left = np.zeros(len(names))
    for i, split in enumerate(splits):
        width = np.array([counts[name][split] for name in names], dtype=float)
        axes.barh(range(len(names)), width, 0.75, left, color=ink((0, 6, 5)[i]), label=split)
        left += width
    for k, total in enumerate(left):
        axes.annotate(
            f"{total:.0f}", (total, k), xytext=(3, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set(xlabel=f"{unit} that show the class", ylabel="class")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7)
    caption = (
        f"Label mix of this hospital. The bars count the {unit} that show each class, coloured by "
        "split; the number is their total."
    )
    return inline(figure, "labels", caption)


def confusion_rows(
    predictions: Predictions, predicted: np.ndarray[Any, Any]
) -> list[dict[str, Any]]:
    """True and false positives and negatives of each class on the examples annotated for it."""
    rows = []
    for c, name in enumerate(predictions.classes):
        known = predictions.labels[:, c] >= 0
        truth, guess = predictions.labels[known, c] == 1, predicted[known, c]
        rows.append(
            {
                "name": name,
                "true_positives": int((truth & guess).sum()),
                "false_negatives": int((truth & ~guess).sum()),
                "false_positives": int((~truth & guess).sum()),
                "true_negatives": int((~truth & ~guess).sum()),
            }
        )
    return rows


@styled
def confusion_picture(
    predictions: Predictions, predicted: np.ndarray[Any, Any], unit: str
) -> Drawing:
    """Confusion matrix of exclusive classes: true class by row, predicted class by column."""
    size = len(predictions.classes)
    truth, guess = predictions.labels.argmax(axis=1), predicted.argmax(axis=1)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (truth, guess), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = canvas(3.1)
    image = axes.imshow(share, cmap="cividis_r", vmin=0, vmax=1)
    for i, j in np.ndindex(size, size):
        colour = "white" if share[i, j] > 0.5 else "black"
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(size), predictions.classes)
    axes.set_yticks(range(size), predictions.classes)
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    caption = (
        f"Confusion matrix. Each cell counts the test {unit} of one true class (row) and one "
        "predicted class (column); the colour is their share of the row."
    )
    return inline(figure, "confusion", caption)


@styled
def confusion_bars(rows: Sequence[Mapping[str, Any]], unit: str) -> Drawing:
    """Bars of true positives, false negatives and false positives, for classes not exclusive."""
    figure, axes = canvas(1.0 + 0.26 * len(rows))
    left = np.zeros(len(rows))
    for key, label, colour in (
        ("true_positives", "true positives", ink(0)),
        ("false_negatives", "false negatives", ink(5)),
        ("false_positives", "false positives", ink(1)),
    ):
        width = np.array([row[key] for row in rows], dtype=float)
        axes.barh(range(len(rows)), width, 0.75, left, color=colour, label=label)
        left += width
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel=f"test {unit}", ylabel="class")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7)
    caption = (
        f"Decisions per class. The bars count the test {unit} where the class was predicted "
        "rightly, missed or predicted wrongly."
    )
    return inline(figure, "confusion", caption)


@styled
def roc(predictions: Predictions, thresholds: Mapping[str, Thresholds] | None) -> Drawing | None:
    """ROC curves, a line per class; the dot is the decision rule. None if nothing to draw."""
    classes = measurable(predictions)
    if not classes:
        return None
    figure, axes = canvas(3.9)
    predicted = predictions.decided
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for c in classes:
        known = predictions.labels[:, c] >= 0
        truth, guess = predictions.labels[known, c] == 1, predicted[known, c]
        x, y, _ = roc_curve(truth, predictions.probabilities[known, c])
        label = f"{predictions.classes[c]} {number(float(auc(x, y)))}"
        axes.plot(x, y, dash(c), color=ink(c), label=label, linewidth=1.3)
        axes.plot([guess[~truth].mean()], [guess[truth].mean()], "o", color=ink(c), markersize=4)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="1 - specificity (false positive rate)")
    axes.set(ylabel="sensitivity (true positive rate)")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7)
    return inline(
        figure,
        "roc",
        "ROC curves, one line per class, with the AUROC beside its name. The dot is the decision "
        "rule in use; the grey line is chance.",
    )


@styled
def precision_recall(
    predictions: Predictions, thresholds: Mapping[str, Thresholds] | None
) -> Drawing | None:
    """Precision-recall curves, a line per class; the dot is the decision rule. None if empty."""
    classes = measurable(predictions)
    if not classes:
        return None
    figure, axes = canvas(3.9)
    predicted = predictions.decided
    for c in classes:
        known = predictions.labels[:, c] >= 0
        truth, guess = predictions.labels[known, c] == 1, predicted[known, c]
        y, x, _ = precision_recall_curve(truth, predictions.probabilities[known, c])
        label = f"{predictions.classes[c]} ({number(float(truth.mean()))})"
        axes.step(x, y, dash(c), where="post", color=ink(c), label=label, linewidth=1.3)
        if guess.any():
            point = [guess[truth].mean()], [truth[guess].mean()]
            axes.plot(*point, "o", color=ink(c), markersize=4)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="sensitivity (recall)", ylabel="positive predictive value (precision)")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7)
    return inline(
        figure,
        "pr",
        "Precision-recall curves, one line per class. The number in brackets is the prevalence, "
        "the precision that chance would reach. The dot is the decision rule in use.",
    )


@styled
def reliability(predictions: Predictions, thresholds: Thresholds | None = None) -> Drawing | None:
    """Reliability diagram: observed share by predicted probability, a line per class; or None."""
    known = {c: _bins(predictions, c) for c in measurable(predictions)}
    if not known:
        return None
    figure, axes = canvas(3.9)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for c, rows in known.items():
        name = predictions.classes[c]
        x, y = [b.mean_p for b in rows], [b.observed for b in rows]
        axes.plot(x, y, dash(c), color=ink(c), marker=".", label=name, linewidth=1.2)
        if thresholds and name in thresholds:
            axes.plot([thresholds[name]] * 2, [-0.02, 0.03], color=ink(c), linewidth=2)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="predicted probability (mean of bin)", ylabel="observed share of positives")
    figure.legend(loc="outside upper left", ncols=5, frameon=False, fontsize=7)
    note = " The short marks at the bottom are the chosen thresholds." if thresholds else ""
    return inline(
        figure,
        "reliability",
        "Reliability diagram, one line per class: the share of positives in each bin of predicted "
        "probabilities. On the grey line the two agree; below it the model is overconfident."
        f"{note}",
    )


def _bins(predictions: Predictions, c: int) -> list[CalibrationBin]:
    annotated = predictions.labels[:, c] >= 0
    return calibration.reliability(
        predictions.labels[annotated, c] == 1, predictions.probabilities[annotated, c]
    )


def at_thresholds(
    predictions: Predictions, thresholds: Mapping[str, Thresholds], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Of the examples predicted to show a class: their mean probability and the share that do."""
    predicted, rows = predictions.decided, []
    sources = sorted(set(predictions.source.tolist()))
    for c, name in enumerate(classes):
        chosen = (predictions.labels[:, c] >= 0) & predicted[:, c]
        n = int(chosen.sum())
        used = {thresholds.get(s, thresholds["pooled"])[name] for s in sources}
        rows.append(
            {
                "name": name,
                "thresholds": sorted(used),
                "n": n,
                "mean_p": float(predictions.probabilities[chosen, c].mean()) if n else None,
                "observed": float((predictions.labels[chosen, c] == 1).mean()) if n else None,
            }
        )
    return rows
