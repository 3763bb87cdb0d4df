"""The figures of one group's predictions: confusion, ROC, precision-recall, calibration."""

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


def measurable(found: Predictions) -> list[int]:
    """Classes of which the group has annotated examples with and without."""
    return [
        c
        for c in range(len(found.classes))
        if (found.labels[:, c] == 1).any() and (found.labels[:, c] == 0).any()
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
    caption = f"Label mix of this hospital. {unit.capitalize()} that show each class, by split."
    return inline(figure, "labels", caption)


def confusion_rows(found: Predictions, predicted: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Right and wrong decisions of each class on annotated examples."""
    rows = []
    for c, name in enumerate(found.classes):
        known = found.labels[:, c] >= 0
        truth, guess = found.labels[known, c] == 1, predicted[known, c]
        rows.append(
            {
                "name": name,
                "hit": int((truth & guess).sum()),
                "missed": int((truth & ~guess).sum()),
                "false": int((~truth & guess).sum()),
                "quiet": int((~truth & ~guess).sum()),
            }
        )
    return rows


@styled
def confusion_picture(found: Predictions, predicted: np.ndarray[Any, Any], unit: str) -> Drawing:
    """Exclusive classes: how many of each true class were called what."""
    size = len(found.classes)
    truth, guess = found.labels.argmax(axis=1), predicted.argmax(axis=1)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (truth, guess), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = canvas(3.1)
    image = axes.imshow(share, cmap="cividis_r", vmin=0, vmax=1)
    for i, j in np.ndindex(size, size):
        colour = "white" if share[i, j] > 0.5 else "black"
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(size), found.classes)
    axes.set_yticks(range(size), found.classes)
    axes.set(xlabel="class the model gives", ylabel="true class")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    caption = f"Confusion of classes. Each cell counts {unit}; the colour is the share of its row."
    return inline(figure, "confusion", caption)


@styled
def confusion_bars(rows: Sequence[Mapping[str, Any]], unit: str) -> Drawing:
    """Classes that may occur together: found, missed and falsely said of each."""
    figure, axes = canvas(1.0 + 0.26 * len(rows))
    left = np.zeros(len(rows))
    for key, label, colour in (
        ("hit", "found", ink(0)),
        ("missed", "missed", ink(5)),
        ("false", "falsely said", ink(1)),
    ):
        width = np.array([row[key] for row in rows], dtype=float)
        axes.barh(range(len(rows)), width, 0.75, left, color=colour, label=label)
        left += width
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel=f"test {unit}", ylabel="class")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7)
    caption = f"Decisions per class. Test {unit} where it was found, missed or falsely said."
    return inline(figure, "confusion", caption)


@styled
def roc(found: Predictions, thresholds: Mapping[str, Thresholds] | None) -> Drawing | None:
    """Sensitivity against false alarms, a line per class; the dot is the chosen threshold."""
    classes = measurable(found)
    if not classes:
        return None
    figure, axes = canvas(3.9)
    predicted = found.predicted(thresholds)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for c in classes:
        known = found.labels[:, c] >= 0
        truth, guess = found.labels[known, c] == 1, predicted[known, c]
        x, y, _ = roc_curve(truth, found.probabilities[known, c])
        label = f"{found.classes[c]} {number(float(auc(x, y)))}"
        axes.plot(x, y, dash(c), color=ink(c), label=label, linewidth=1.3)
        axes.plot([guess[~truth].mean()], [guess[truth].mean()], "o", color=ink(c), markersize=4)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="1 - specificity (share of negatives said positive)")
    axes.set(ylabel="sensitivity (share of positives found)")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7)
    return inline(
        figure,
        "roc",
        "ROC curves with their AUROC. The dot is where the chosen decision rule stands; grey is "
        "chance.",
    )


@styled
def precision_recall(
    found: Predictions, thresholds: Mapping[str, Thresholds] | None
) -> Drawing | None:
    """Precision against sensitivity, a line per class; the dot is the chosen threshold."""
    classes = measurable(found)
    if not classes:
        return None
    figure, axes = canvas(3.9)
    predicted = found.predicted(thresholds)
    for c in classes:
        known = found.labels[:, c] >= 0
        truth, guess = found.labels[known, c] == 1, predicted[known, c]
        y, x, _ = precision_recall_curve(truth, found.probabilities[known, c])
        label = f"{found.classes[c]} ({number(float(truth.mean()))})"
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
        "Precision-recall curves. In brackets the prevalence, which is what chance would reach; "
        "the dot is where the chosen decision rule stands.",
    )


@styled
def reliability(found: Predictions, thresholds: Thresholds | None = None) -> Drawing | None:
    """Observed share against predicted probability, a line per class; None where not known."""
    known = {c: _bins(found, c) for c in measurable(found)}
    if not known:
        return None
    figure, axes = canvas(3.9)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for c, rows in known.items():
        name = found.classes[c]
        x, y = [b.mean_p for b in rows], [b.observed for b in rows]
        axes.plot(x, y, dash(c), color=ink(c), marker=".", label=name, linewidth=1.2)
        if thresholds and name in thresholds:
            axes.plot([thresholds[name]] * 2, [-0.02, 0.03], color=ink(c), linewidth=2)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="predicted probability (mean of bin)", ylabel="observed share")
    figure.legend(loc="outside upper left", ncols=5, frameon=False, fontsize=7)
    told = " Ticks at the foot are the chosen thresholds." if thresholds else ""
    return inline(
        figure,
        "reliability",
        "Reliability by class. On the grey line a predicted probability is what is observed; below "
        f"it the model is too sure.{told}",
    )


def _bins(found: Predictions, c: int) -> list[CalibrationBin]:
    annotated = found.labels[:, c] >= 0
    return calibration.reliability(
        found.labels[annotated, c] == 1, found.probabilities[annotated, c]
    )


def at_thresholds(
    found: Predictions, thresholds: Mapping[str, Thresholds], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Among the examples said to show a class: the mean probability and the share that do."""
    predicted, rows = found.predicted(thresholds), []
    sources = sorted(set(found.source.tolist()))
    for c, name in enumerate(classes):
        chosen = (found.labels[:, c] >= 0) & predicted[:, c]
        n = int(chosen.sum())
        used = {thresholds.get(s, thresholds["pooled"])[name] for s in sources}
        rows.append(
            {
                "name": name,
                "thresholds": sorted(used),
                "n": n,
                "mean_p": float(found.probabilities[chosen, c].mean()) if n else None,
                "observed": float((found.labels[chosen, c] == 1).mean()) if n else None,
            }
        )
    return rows
