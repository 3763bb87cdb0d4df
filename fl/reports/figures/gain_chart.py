"""The first figure of a run: what each hospital gains, and how far it is from pooled training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from fl.config.run_config import LOCAL, POOLED
from fl.config.strategy_traits import POOLED_PERSONAL
from fl.evaluation.bootstrap import MIN_INTERVAL_PATIENTS
from fl.evaluation.paired_bootstrap import METRICS
from fl.evaluation.seed_summary import SeedDifference
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.evaluation.strategy_names import strategy_name
from fl.reports.figures.svg import Drawing, canvas, inline, styled, training_ink

Row = ComparisonRow | SeedDifference
# Of the difference from each training.
MARKS = {LOCAL: "o", POOLED: "s", POOLED_PERSONAL: "^"}
OFFSET = {LOCAL: -0.17, POOLED: 0.17, POOLED_PERSONAL: 0.34}
TITLES = {
    LOCAL: "minus local training (gain)",
    POOLED: "minus pooled training (distance)",
    POOLED_PERSONAL: "minus pooled training with the same at each hospital (distance)",
}
MEAN = "mean_site"


@styled
def gain_chart(
    rows: Sequence[Row], main: str, order: Sequence[str], metric: str = "macro_f1"
) -> Drawing | None:
    """Each hospital's difference from local and from pooled training; None without any."""
    shown = [
        row
        for row in rows
        if row.strategy == main and row.metric == metric and _value(row) is not None
        if row.where == MEAN or row.where.startswith("site:")
    ]
    if not shown:
        return None
    places = sorted({row.where for row in shown}, key=lambda where: (where != MEAN, where))
    figure, axes = canvas(1.2 + 0.36 * len(places))
    for against in MARKS:
        part = [row for row in shown if row.against == against]
        _points(axes, part, places, training_ink(main, order), against)
    axes.axvline(0, color="black", linewidth=0.8)
    if MEAN in places:
        axes.axhline(0.5, color="#D0D0D0", linewidth=0.8)
    names = ["mean over hospitals" if p == MEAN else p.removeprefix("site:") for p in places]
    axes.set_yticks(range(len(places)), names)
    axes.set(ylim=(len(places) - 0.5, -0.5), xlabel=f"difference in {METRICS[metric]}")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper left", ncols=1, frameon=False, fontsize=7)
    seeds = isinstance(shown[0], SeedDifference)
    who = "What each hospital gains" if len(places) > 1 else "What this hospital gains"
    rival = any(row.against == POOLED_PERSONAL for row in shown)
    return inline(figure, "gain", _caption(who, main, metric, seeds, rival))


def _points(
    axes: Axes, rows: Sequence[Row], places: Sequence[str], colour: str, against: str
) -> None:
    label: str | None = TITLES[against]
    for row in rows:
        value, (low, high) = _value(row), _range(row)
        y = places.index(row.where) + OFFSET[against]
        known = low is not None and high is not None
        if known:
            axes.plot(np.array([low, high]), [y, y], color=colour, linewidth=1.5)
        face = colour if known else "white"
        point = axes.plot(np.array([value]), [y], MARKS[against], color=colour, markersize=5)[0]
        point.set(markerfacecolor=face, label=label)
        label = None
        if not known and isinstance(row, ComparisonRow):
            text = f"n={row.n_patients}"
            axes.annotate(
                text,
                (value, y),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=6.5,
            )


def _value(row: Row) -> float | None:
    return row.mean if isinstance(row, SeedDifference) else row.value


def _range(row: Row) -> tuple[float | None, float | None]:
    """The 95% interval; over seeds the lowest and the highest seed."""
    if isinstance(row, SeedDifference):
        return row.low_seed, row.high_seed
    if row.n_patients < MIN_INTERVAL_PATIENTS:
        return None, None
    return row.low, row.high


def _caption(who: str, main: str, metric: str, seeds: bool, rival: bool) -> str:
    lines = (
        "Marks are means over the seeds, lines go from the lowest to the highest seed."
        if seeds
        else "Lines are 95% intervals by paired bootstrap over patients. A hollow mark has too few "
        f"test patients for an interval (fewer than {MIN_INTERVAL_PATIENTS}); n is their "
        "number."
    )
    rivals = f"; {strategy_name(POOLED_PERSONAL)}: triangles" if rival else ""
    return (
        f"{who}: {METRICS[metric]} of {strategy_name(main)} at the hospital's "
        "own test patients minus that of training alone (circles) and of pooled training "
        f"(squares{rivals}). Right of zero {strategy_name(main)} is better. {lines}"
    )
