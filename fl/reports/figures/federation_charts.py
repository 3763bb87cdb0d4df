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
from fl.reports.figures.svg import MARKS, Drawing, canvas, ink, inline, legend_above, styled
from fl.reports.pages.sentences import place
from fl.reports.run_files import Run
from fl.runs.history_tables import RoundRow

ROW = 0.3  # inches of a figure's height for each of its rows


@styled
def learning(run: Run) -> list[Drawing]:
    """Loss and validation macro-F1 by round, one line per strategy."""
    drawings, optimism = [], ""
    if not TASKS[run.task].exclusive:
        optimism = " The thresholds are chosen on the same records, so these values are too high."
    for name, columns, label, title in (
        (
            "loss",
            (("val_loss", "-"), ("train_loss", ":")),
            "loss (nats per label)",
            "Loss by round, one colour per strategy. Solid lines: validation records of the "
            "hospitals; dotted lines: training records.",
        ),
        (
            "validation",
            (("val_macro_f1", "-"),),
            "macro-F1 on validation",
            "Macro-F1 on the hospitals' validation records by round, one colour per strategy. The "
            f"large mark is the best round, whose weights were kept.{optimism} The tables hold "
            "the test results.",
        ),
    ):
        figure, axes = canvas(2.5)
        for i, strategy in enumerate(run.strategies):
            rows = [row for row in run.rounds if row.strategy == strategy]
            for column, style in columns:
                _line(axes, rows, column, strategy, i, style)
            if name == "validation":
                axes.set_ylim(0, 1)
                _mark_best(axes, rows, run.strategies[strategy].best_round, i)
        axes.set(xlabel="round", ylabel=label)
        last = max((row.round for row in run.rounds), default=1)
        axes.set_xlim(0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        legend_above(figure, axes)
        drawings.append(inline(figure, name, title))
    return drawings


def _line(
    axes: Axes, rows: Sequence[RoundRow], column: str, strategy: str, index: int, style: str
) -> None:
    points = [(row.round, getattr(row, column)) for row in rows]
    known = [(x, y) for x, y in points if y is not None]
    if known:
        label = strategy_name(strategy) if style == "-" else None
        mark = "." if len(known) < 3 else None
        x, y = zip(*known, strict=True)
        axes.plot(x, y, style, color=ink(index), label=label, linewidth=1.3, marker=mark)


def _mark_best(axes: Axes, rows: Sequence[RoundRow], best: int | None, index: int) -> None:
    for row in rows:
        if row.round == best and row.val_macro_f1 is not None:
            axes.plot([best], [row.val_macro_f1], MARKS[index % len(MARKS)], color=ink(index))


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
        _intervals(axes, points, heights, order.index(name), strategy_name(name))
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
        "the differences, lines their 95% intervals by paired bootstrap over patients; a mark "
        "without a line has too few patients for an interval. Right of zero the strategy is "
        "better; a line that crosses zero shows no evidence of a difference.",
    )


def _intervals(
    axes: Axes,
    rows: Sequence[Estimate | ComparisonRow],
    heights: Sequence[float],
    index: int,
    label: str,
) -> None:
    """Marks with horizontal lines from low to high, where there is an interval."""
    for row, y in zip(rows, heights, strict=True):
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [y, y], color=ink(index), linewidth=1.5)
    mark = MARKS[index % len(MARKS)]
    values = [row.value for row in rows]
    axes.plot(np.array(values), heights, mark, color=ink(index), label=label, markersize=4)


@styled
def by_site(run: Run) -> Drawing | None:
    """Macro-F1 on each site's own test records, one point per strategy, with intervals."""
    names = list(run.strategies)
    sites = [s for s in run.sites if any(_f1(run, n, s) for n in names)]
    if not sites:
        return None
    figure, axes = canvas(1.0 + (0.14 + 0.14 * len(names)) * len(sites))
    step = 0.7 / len(names)
    for i, name in enumerate(names):
        by_place = [(_f1(run, name, site), k) for k, site in enumerate(sites)]
        rows = [row for row, _ in by_place if row]
        heights = [k - 0.35 + step * (i + 0.5) for row, k in by_place if row]
        _intervals(axes, rows, heights, i, strategy_name(name))
    axes.set_yticks(range(len(sites)), sites)
    axes.set(xlim=(0, 1), ylim=(len(sites) - 0.5, -0.5))
    axes.set(xlabel="macro-F1 on the hospital's own test records", ylabel="hospital")
    axes.grid(axis="x", alpha=0.3)
    legend_above(figure, axes)
    return inline(
        figure,
        "by-site",
        "Macro-F1 of each strategy at each hospital. Lines are 95% intervals by bootstrap over the "
        "hospital's test patients.",
    )


def _f1(run: Run, strategy: str, site: str) -> Estimate | None:
    measures = run.strategies[strategy].sites.get(site)
    return measures.macro_f1 if measures and measures.macro_f1.value is not None else None


@styled
def dots(
    rows: Sequence[tuple[str, Estimate]], name: str, label: str, caption: str
) -> Drawing | None:
    """One row per named estimate: its value and its interval."""
    known = [(text, row) for text, row in rows if row.value is not None]
    if not known:
        return None
    figure, axes = canvas(0.8 + ROW * len(known))
    for i, (_, row) in enumerate(known):
        _intervals(axes, [row], [i], 0, "")
    axes.set_yticks(range(len(known)), [text for text, _ in known])
    axes.set_ylim(len(known) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    return inline(figure, name, caption)


@styled
def over_seeds(
    rows: Sequence[tuple[str, Sequence[float | None]]], name: str, label: str
) -> Drawing | None:
    """Values of every seed, one row of points per strategy, and their mean as a bar."""
    known = [(text, [v for v in values if v is not None]) for text, values in rows]
    known = [(text, values) for text, values in known if values]
    if not known:
        return None
    figure, axes = canvas(0.8 + ROW * len(known))
    for i, (_, values) in enumerate(known):
        axes.plot(values, [i] * len(values), "o", color=ink(0), alpha=0.7, markersize=4)
        axes.plot([np.mean(values)] * 2, [i - 0.3, i + 0.3], color=ink(1), linewidth=2)
    axes.set_yticks(range(len(known)), [strategy_name(text) for text, _ in known])
    axes.set_ylim(len(known) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    caption = f"{label[0].upper()}{label[1:]}. One point per seed; the vertical bar is their mean."
    return inline(figure, name, caption)
