"""Confusion matrices of every network of a task side by side, as one figure."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.common.plots import svg
from fl.evaluation.predictions import Predictions

Matrix = NDArray[np.float64]
SIDE = 2.1  # inches of a matrix
ACROSS = 4  # matrices beside each other
NONE = "none"  # predicted, where an example may have no class


def shares(found: Predictions, exclusive: bool) -> tuple[Matrix, list[str], list[str]]:
    """Share of the examples of each class (row) that are called each class (column), and names.

    Where exactly one class is true, a row sums to one. Where any number is, a row shows how often
    each class is predicted for the examples that show the row's class and are annotated for the
    column's; examples without any class are a row of their own, and so are those for which nothing
    is predicted a column. A row without an example is not a number.
    """
    classes = list(found.classes)
    truth, called = found.labels == 1, found.decided
    if exclusive:
        counts = np.zeros((len(classes), len(classes)))
        np.add.at(counts, (truth.argmax(axis=1), called.argmax(axis=1)), 1)
        total = counts.sum(axis=1, keepdims=True)
        return (
            np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0),
            (classes),
            classes,
        )
    names = [*classes, NONE]
    truth = np.hstack([truth, ~truth.any(axis=1, keepdims=True)])
    known = np.hstack([found.labels >= 0, np.ones((len(truth), 1), dtype=bool)])
    called = np.hstack([called, ~called.any(axis=1, keepdims=True)])
    total = truth.astype(float).T @ known
    hits = truth.astype(float).T @ (known & called)
    return np.divide(hits, total, out=np.full_like(hits, np.nan), where=total > 0), names, names


def confusion_figure(by_network: Mapping[str, Predictions], exclusive: bool, title: str) -> bytes:
    """One matrix for each network, as SVG."""
    down = -(-len(by_network) // ACROSS)
    with matplotlib.rc_context({"font.size": 7.0}):
        figure = Figure(figsize=(SIDE * ACROSS, 0.4 + (SIDE + 0.3) * down), layout="constrained")
        grid = np.atleast_2d(figure.subplots(down, ACROSS, squeeze=False))
        for axes in grid.flat[len(by_network) :]:
            axes.set_visible(False)
        for axes, (name, found) in zip(grid.flat, by_network.items(), strict=False):
            share, rows, columns = shares(found, exclusive)
            axes.imshow(share, cmap="Greys", vmin=0, vmax=1)
            for i, j in np.ndindex(share.shape):
                if share[i, j] >= 0.005:
                    colour = "white" if share[i, j] > 0.5 else "black"
                    text = f"{100 * share[i, j]:.0f}"
                    axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=5)
            axes.set_xticks(range(len(columns)), columns, rotation=90)
            axes.set_yticks(range(len(rows)), rows)
            axes.set_title(name, fontsize=8)
        figure.supxlabel("predicted class")
        figure.supylabel("true class")
        figure.suptitle(title, fontsize=8)
        return svg(figure)
