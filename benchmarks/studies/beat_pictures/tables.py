"""The tables of the study and its figure of confusion matrices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.common.plots import svg
from fl.ecg.tasks import BEAT7

NAMES = {
    "N": "normal",
    "L": "left bundle branch block",
    "R": "right bundle branch block",
    "A": "premature atrial",
    "V": "premature ventricular",
    "/": "paced",
    "E": "ventricular escape",
}
Confusion = NDArray[np.int64]


def per_class(confusion: Confusion) -> list[tuple[float | None, float | None, float | None]]:
    """Sensitivity, +P and F1 of each class; None where there is no beat to divide by."""
    right = np.diag(confusion)
    rows = []
    for hit, true, named in zip(
        right.tolist(),
        confusion.sum(axis=1).tolist(),
        confusion.sum(axis=0).tolist(),
        strict=True,
    ):
        f1 = 2 * hit / (true + named) if true else None
        rows.append((hit / true if true else None, hit / named if named else None, f1))
    return rows


def accuracy(confusion: Confusion) -> float:
    """Share of the beats whose class is named."""
    return float(np.trace(confusion) / confusion.sum())


def macro_f1(confusion: Confusion) -> float:
    """Mean F1 over the classes that the test has."""
    return float(np.mean([f1 for _, _, f1 in per_class(confusion) if f1 is not None]))


def table(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A row per training and test, then sensitivity and +P of each class below each other.

    `results` have "confusion" and "patients", who have beats of each class in the test.
    """
    titles = list(results)
    matrices = [np.array(results[title]["confusion"]) for title in titles]
    lines = ["| | " + " | ".join(titles) + " |", "| --- |" + " --- |" * len(titles)]

    def row(name: str, cells: Sequence[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    row("test beats", [f"{int(m.sum()):,}" for m in matrices])
    row("accuracy", [f"{100 * accuracy(m):.2f}%" for m in matrices])
    row("macro-F1", [f"{macro_f1(m):.3f}" for m in matrices])
    measured = [per_class(m) for m in matrices]
    for k, name in enumerate(BEAT7.classes):
        cells = []
        for title, matrix, rows in zip(titles, matrices, measured, strict=True):
            beats, patients = int(matrix[k].sum()), results[title]["patients"][k]
            se, plus_p = (_percent(value) for value in rows[k][:2])
            people = f"{patients} patient{'' if patients == 1 else 's'}"
            cells.append(f"{se} / {plus_p} ({beats:,} of {people})" if beats else "none tested")
        row(f"{name} {NAMES[name]}, Se / +P", cells)
    return lines


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}%"


def figure(results: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The confusion matrices side by side as SVG: counts, shaded by their share of the row."""
    drawn = Figure(figsize=(4.2 * len(results), 4.4), layout="constrained")
    for place, (title, result) in enumerate(results.items(), start=1):
        counts = np.array(result["confusion"])
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes = drawn.add_subplot(1, len(results), place)
        axes.imshow(share, cmap="Greys", vmin=0, vmax=1)
        for i, j in np.ndindex(*counts.shape):
            if counts[i, j]:
                colour = "white" if share[i, j] > 0.5 else "black"
                axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, size=7)
        axes.set_xticks(range(len(BEAT7.classes)), BEAT7.classes)
        axes.set_yticks(range(len(BEAT7.classes)), BEAT7.classes)
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.set_title(title, size=9)
    return svg(drawn)
