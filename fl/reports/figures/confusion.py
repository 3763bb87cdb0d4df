"""Counts of right and wrong decisions, and of the classes that a hospital's examples show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fl.evaluation.predictions import Predictions
from fl.reports.figures.svg import GREYS, Drawing, canvas, inline, styled


@styled
def label_counts(counts: Mapping[str, Mapping[str, int]], unit: str) -> Drawing:
    """How many examples of one site show each class, by split."""
    names = list(counts)
    splits = list(counts[names[0]])
    figure, axes = canvas(1.0 + 0.26 * len(names))
    left = np.zeros(len(names))
    for i, split in enumerate(splits):
        width = np.array([counts[name][split] for name in names], dtype=float)
        axes.barh(range(len(names)), width, 0.75, left, color=GREYS[i], label=split)
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
        f"Label mix of this hospital. The bars count the {unit} that show each class, shaded by "
        "split; the number is their total."
    )
    return inline(figure, "labels", caption)


def confusion_rows(predictions: Predictions) -> list[dict[str, Any]]:
    """True and false positives and negatives of each class on the examples annotated for it."""
    rows = []
    for c, name in enumerate(predictions.classes):
        known = predictions.labels[:, c] >= 0
        truth, guess = predictions.labels[known, c] == 1, predictions.decided[known, c]
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
def confusion_matrix(predictions: Predictions, unit: str) -> Drawing:
    """Confusion matrix of exclusive classes: true class by row, predicted class by column."""
    size = len(predictions.classes)
    truth, guess = predictions.labels.argmax(axis=1), predictions.decided.argmax(axis=1)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (truth, guess), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = canvas(3.1)
    image = axes.imshow(share, cmap="Greys", vmin=0, vmax=1)
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
        ("true_positives", "true positives", GREYS[0]),
        ("false_negatives", "false negatives", GREYS[2]),
        ("false_positives", "false positives", GREYS[1]),
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


def confusion_drawing(predictions: Predictions, exclusive: bool, unit: str) -> Drawing | None:
    """A matrix if exactly one class is true of each example, else bars; None without examples."""
    if not len(predictions):
        return None
    if exclusive:
        return confusion_matrix(predictions, unit)
    return confusion_bars(confusion_rows(predictions), unit)
