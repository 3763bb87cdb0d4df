"""The figures of the federation's page: learning curves, results and differences."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fl.ecg.tasks import TASKS
from fl.evaluation.group_evaluation import Estimate
from fl.evaluation.paired_bootstrap import METRICS
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.evaluation.strategy_names import strategy_name
from fl.reports.figures.svg import (
    Drawing,
    canvas,
    inline,
    legend_above,
    styled,
    training_ink,
    training_mark,
)
from fl.reports.pages.sentences import place
from fl.reports.run_files import Run
from fl.runs.history_tables import RoundRow

ROW = 0.3  # inches of a figure's height for each of its rows


@styled
def learning(run: Run) -> list[Drawing]:
    """Loss and validation macro-F1 by round, one line per strategy."""
    drawings, task = [], TASKS[run.task]
    means = any(row.averaged for row in run.rounds)
    averaged = f" of {' and '.join(task.decided)}" if task.exclusive else ""
    for name, columns, label, title in (
        (
            "loss",
            (("val_loss", "-"), ("train_loss", ":")),
            "loss (nats per label)",
            "Loss by round, one colour per training. Solid lines: validation records of the "
            "hospitals; dotted lines: training records.",
        ),
        (
            "validation",
            (("val_macro_f1", "-"),),
            "macro-F1 on validation",
            f"Macro-F1{averaged} on the hospitals' validation records by round, one colour per "
            "training. The large mark is the best round, whose weights were kept"
            f"{' (or the mean of the last rounds)' if means else ''}. The thresholds "
            "are chosen on the same records, so these values are too high. The tables hold the "
            "test results.",
        ),
    ):
        figure, axes = canvas(2.5)
        order = tuple(run.strategies)
        for strategy in order:
            rows = [row for row in run.rounds if row.strategy == strategy and not row.averaged]
            for column, style in columns:
                _line(axes, rows, column, strategy, order, style)
            if name == "validation":
                axes.set_ylim(0, 1)
                of_mean = run.strategies[strategy].averaged or 0
                shown = [row for row in run.rounds if row.strategy == strategy]
                marked = [row for row in shown if row.averaged == of_mean]
                _mark_best(axes, marked, strategy, run.strategies[strategy].best_round, order)
        axes.set(xlabel="round", ylabel=label)
        last = max((row.round for row in run.rounds), default=1)
        axes.set_xlim(0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        legend_above(figure, axes)
        drawings.append(inline(figure, name, title))
    return drawings


def _line(
    axes: Axes,
    rows: Sequence[RoundRow],
    column: str,
    strategy: str,
    order: Sequence[str],
    style: str,
) -> None:
    points = [(row.round, getattr(row, column)) for row in rows]
    known = [(x, y) for x, y in points if y is not None]
    if known:
        label = strategy_name(strategy) if style == "-" else None
        mark = "." if len(known) < 3 else None
        x, y = zip(*known, strict=True)
        colour = training_ink(strategy, order)
        axes.plot(x, y, style, color=colour, label=label, linewidth=1.3, marker=mark)


def _mark_best(
    axes: Axes, rows: Sequence[RoundRow], strategy: str, best: int | None, order: Sequence[str]
) -> None:
    mark, colour = training_mark(strategy, order), training_ink(strategy, order)
    for row in rows:
        if row.round == best and row.val_macro_f1 is not None:
            axes.plot([best], [row.val_macro_f1], mark, color=colour)


@styled
def forest(
    rows: Sequence[ComparisonRow], against: str, metric: str, order: Sequence[str]
) -> Drawing | None:
    """Forest plot: differences from one baseline with their intervals; None without any.

    `order` holds the names of all trainings, so that each has one colour in every figure.
    """
    shown = [
        row
        for row in rows
        if row.against == against and row.metric == metric and row.value is not None
        if row.where != "worst_site"  # the interval of a minimum means nothing
    ]
    if not shown:
        return None
    strategies = list(dict.fromkeys(row.strategy for row in shown))
    wheres = list(dict.fromkeys(row.where for row in shown))
    figure, axes = canvas(1.0 + (0.14 + 0.16 * len(strategies)) * len(wheres))
    step = 0.7 / len(strategies)
    for i, name in enumerate(strategies):
        points = [row for row in shown if row.strategy == name]
        heights = [wheres.index(row.where) - 0.35 + step * (i + 0.5) for row in points]
        _intervals(axes, points, heights, name, order)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(wheres)), [place(where) for where in wheres])
    axes.set(ylim=(len(wheres) - 0.5, -0.5), ylabel="test records")
    axes.set_xlabel(f"difference in {METRICS[metric]}")
    axes.grid(axis="x", alpha=0.3)
    legend_above(figure, axes)
    return inline(
        figure,
        f"forest-{against}-{metric.replace('_', '-')}",
        f"Difference in {METRICS[metric]}: each strategy minus {strategy_name(against)}. Marks are "
        "the differences, lines their 95% intervals by paired bootstrap over patients; a hollow "
        "mark has too few patients for an interval. Right of zero the strategy is "
        "better; a line that crosses zero shows no evidence of a difference.",
    )


def _intervals(
    axes: Axes,
    rows: Sequence[Estimate | ComparisonRow],
    heights: Sequence[float],
    training: str,
    order: Sequence[str],
) -> None:
    """Marks with horizontal lines from low to high; a mark without an interval is hollow."""
    colour, mark = training_ink(training, order), training_mark(training, order)
    label: str | None = strategy_name(training)
    for row, y in zip(rows, heights, strict=True):
        known = row.low is not None and row.high is not None
        if known:
            axes.plot(np.array([row.low, row.high]), [y, y], color=colour, linewidth=1.5)
        face = colour if known else "white"
        point = axes.plot(np.array([row.value]), [y], mark, color=colour, markersize=4)[0]
        point.set(markerfacecolor=face, label=label)
        label = None


@styled
def by_site(run: Run) -> Drawing | None:
    """Macro-F1 on each site's own test records, one point per strategy, with intervals."""
    names = list(run.strategies)
    sites = [s for s in run.shown if any(_f1(run, n, s) for n in names)]
    if not sites:
        return None
    figure, axes = canvas(1.0 + (0.14 + 0.14 * len(names)) * len(sites))
    step = 0.7 / len(names)
    for i, name in enumerate(names):  # names is the order of all trainings
        by_place = [(_f1(run, name, site), k) for k, site in enumerate(sites)]
        rows = [row for row, _ in by_place if row]
        heights = [k - 0.35 + step * (i + 0.5) for row, k in by_place if row]
        _intervals(axes, rows, heights, name, names)
    axes.set_yticks(range(len(sites)), sites)
    axes.set(xlim=(0, 1), ylim=(len(sites) - 0.5, -0.5))
    axes.set(xlabel="macro-F1 on the hospital's own test records", ylabel="hospital")
    axes.grid(axis="x", alpha=0.3)
    legend_above(figure, axes)
    return inline(
        figure,
        "by-site",
        "Macro-F1 of each training at each hospital. Lines are 95% intervals by bootstrap over the "
        "hospital's test patients; a hollow mark has too few for one.",
    )


def _f1(run: Run, strategy: str, site: str) -> Estimate | None:
    measures = run.strategies[strategy].sites.get(site)
    return measures.macro_f1 if measures and measures.macro_f1.value is not None else None


@styled
def dots(
    rows: Sequence[tuple[str, str, Estimate]], name: str, label: str, caption: str
) -> Drawing | None:
    """One row per named estimate of a training: its value and its interval."""
    known = [(text, training, row) for text, training, row in rows if row.value is not None]
    order = list(dict.fromkeys(training for _, training, _ in rows))
    if not known:
        return None
    figure, axes = canvas(0.8 + ROW * len(known))
    for i, (_, training, row) in enumerate(known):
        _intervals(axes, [row], [i], training, order)
    axes.set_yticks(range(len(known)), [text for text, _, _ in known])
    axes.set_ylim(len(known) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    return inline(figure, name, caption)


@styled
def over_seeds(
    rows: Sequence[tuple[str, Sequence[float | None]]], name: str, label: str
) -> Drawing | None:
    """Values of every seed, one row of points per training, and their mean as a bar."""
    order = [text for text, _ in rows]
    known = [(text, [v for v in values if v is not None]) for text, values in rows]
    known = [(text, values) for text, values in known if values]
    if not known:
        return None
    figure, axes = canvas(0.8 + ROW * len(known))
    for i, (text, values) in enumerate(known):
        colour, mark = training_ink(text, order), training_mark(text, order)
        axes.plot(values, [i] * len(values), mark, color=colour, alpha=0.6, markersize=4)
        axes.plot([np.mean(values)] * 2, [i - 0.3, i + 0.3], color=colour, linewidth=2)
    axes.set_yticks(range(len(known)), [strategy_name(text) for text, _ in known])
    axes.set_ylim(len(known) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    caption = f"{label[0].upper()}{label[1:]}. One point per seed; the vertical bar is their mean."
    return inline(figure, name, caption)
