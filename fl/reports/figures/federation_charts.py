"""The figures of the federation's page: who holds what, how it learnt, what it gained."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fl.evaluation.group_evaluation import Estimate
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.reports.figures.svg import MARKS, Drawing, canvas, ink, inline, legend_above, styled
from fl.reports.pages.sentences import NAMES, place
from fl.reports.run_files import Run
from fl.runs.history_tables import RoundRow

BAR = 0.3  # inches per bar or line of a forest plot


@styled
def learning(run: Run) -> list[Drawing]:
    """Loss and validation macro-F1 by round, one line per strategy."""
    drawings = []
    for name, columns, label, title in (
        (
            "loss",
            (("val_loss", "-"), ("train_loss", ":")),
            "loss (nats per label)",
            "Loss by round. Solid: validation records of the sites; dotted: training records.",
        ),
        (
            "validation",
            (("val_macro_f1", "-"),),
            "macro-F1 on validation",
            "Macro-F1 on the sites' validation records by round. The mark is the round whose "
            "weights were kept. Thresholds are chosen on the same records, so it flatters; test "
            "figures are in the tables.",
        ),
    ):
        figure, axes = canvas(2.5)
        for i, strategy in enumerate(run.strategies):
            rows = [row for row in run.rounds if row.strategy == strategy]
            for column, style in columns:
                _line(axes, rows, column, strategy, i, style)
            if name == "validation":
                axes.set_ylim(0, 1)
                _best(axes, rows, run.strategies[strategy].best_round, i)
        axes.set(xlabel="round", ylabel=label)
        last = max((row.round for row in run.rounds), default=1)
        axes.set_xlim(0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        legend_above(figure, axes)
        drawings.append(inline(figure, name, title))
    return drawings


def _line(
    axes: Axes, rows: Sequence[RoundRow], column: str, name: str, number_: int, style: str
) -> None:
    points = [(row.round, getattr(row, column)) for row in rows]
    known = [(x, y) for x, y in points if y is not None]
    if known:
        label = name if style == "-" else None
        mark = "." if len(known) < 3 else None
        x, y = zip(*known, strict=True)
        axes.plot(x, y, style, color=ink(number_), label=label, linewidth=1.3, marker=mark)


def _best(axes: Axes, rows: Sequence[RoundRow], best: int | None, number_: int) -> None:
    for row in rows:
        if row.round == best and row.val_macro_f1 is not None:
            axes.plot([best], [row.val_macro_f1], MARKS[number_ % len(MARKS)], color=ink(number_))


@styled
def forest(rows: Sequence[ComparisonRow], against: str, metric: str) -> Drawing | None:
    """Differences from one baseline with their intervals; None where there are none."""
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
        mine = [row for row in shown if row.strategy == name]
        at = [wheres.index(row.where) - 0.35 + step * (i + 0.5) for row in mine]
        _intervals(axes, mine, at, i, name)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(wheres)), [place(where) for where in wheres])
    axes.set_ylim(len(wheres) - 0.5, -0.5)
    axes.set_xlabel(f"{NAMES[metric]}, strategy minus {against}")
    axes.grid(axis="x", alpha=0.3)
    legend_above(figure, axes)
    what = "training alone" if against == "local" else "pooling all recordings"
    return inline(
        figure,
        f"forest-{against}-{metric.replace('_', '-')}",
        f"What each strategy gains in {NAMES[metric]} over {what}. Lines are 95% intervals by "
        "paired bootstrap over patients; right of zero the strategy is better, and a line that "
        "crosses zero shows no evidence of a difference.",
    )


def _intervals(
    axes: Axes,
    rows: Sequence[Estimate | ComparisonRow],
    at: Sequence[float],
    number_: int,
    label: str,
) -> None:
    """Points with horizontal lines from low to high, where there is an interval."""
    for row, y in zip(rows, at, strict=True):
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [y, y], color=ink(number_), linewidth=1.5)
    mark = MARKS[number_ % len(MARKS)]
    values = [row.value for row in rows]
    axes.plot(np.array(values), at, mark, color=ink(number_), label=label, markersize=4)


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
        found = [(_f1(run, name, site), k) for k, site in enumerate(sites)]
        rows = [row for row, _ in found if row]
        at = [k - 0.35 + step * (i + 0.5) for row, k in found if row]
        _intervals(axes, rows, at, i, name)
    axes.set_yticks(range(len(sites)), sites)
    axes.set(xlim=(0, 1), ylim=(len(sites) - 0.5, -0.5))
    axes.set(xlabel="macro-F1 on the site's own test records", ylabel="site")
    axes.grid(axis="x", alpha=0.3)
    legend_above(figure, axes)
    return inline(
        figure,
        "by-site",
        "Macro-F1 of each strategy at each site. Lines are 95% intervals by bootstrap over the "
        "site's test patients.",
    )


def _f1(run: Run, strategy: str, site: str) -> Estimate | None:
    measures = run.strategies[strategy].sites.get(site)
    return measures.macro_f1 if measures and measures.macro_f1.value is not None else None


@styled
def dots(
    rows: Sequence[tuple[str, Estimate]], name: str, label: str, caption: str
) -> Drawing | None:
    """One line per named estimate: its value and interval."""
    known = [(text, row) for text, row in rows if row.value is not None]
    if not known:
        return None
    figure, axes = canvas(0.8 + BAR * len(known))
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
    """Values of every seed, one line of points per strategy, the mean as a bar."""
    known = [(text, [v for v in values if v is not None]) for text, values in rows]
    known = [(text, values) for text, values in known if values]
    if not known:
        return None
    figure, axes = canvas(0.8 + BAR * len(known))
    for i, (_, values) in enumerate(known):
        axes.plot(values, [i] * len(values), "o", color=ink(0), alpha=0.7, markersize=4)
        axes.plot([np.mean(values)] * 2, [i - 0.3, i + 0.3], color=ink(1), linewidth=2)
    axes.set_yticks(range(len(known)), [text for text, _ in known])
    axes.set_ylim(len(known) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    caption = f"{label[0].upper()}{label[1:]}. One point per seed; the upright bar is their mean."
    return inline(figure, name, caption)
