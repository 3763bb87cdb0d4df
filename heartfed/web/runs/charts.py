"""Curves over the rounds as SVG: losses and validation measures of every training."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from markupsafe import Markup

from fl.config.run_config import NOT_FEDERATED
from fl.evaluation.strategy_names import strategy_name
from fl.reports.number_format import number
from fl.runs.history_tables import RoundRow
from fl.runs.run_progress import TrainingSoFar

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 34
COLOURS = 6  # classes of style.css: line-0 to line-5
MOST_POINTS = 400  # of a curve; more are closer than a pixel
Value = Callable[[RoundRow], float | None]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure, and what each of its lines is."""

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...]  # class of a line, name of the training


MEASURES: tuple[tuple[str, Value], ...] = (
    ("Training loss", lambda row: row.train_loss),
    ("Validation loss", lambda row: row.val_loss),
    ("Validation macro-F1", lambda row: row.val_macro_f1),
    ("Validation macro-AUROC", lambda row: row.val_macro_auroc),
)


def charts_of(trainings: Sequence[TrainingSoFar], rounds: int) -> list[Chart]:
    """A chart for every measure of which some training has a value."""
    found = [_chart(title, value, trainings, rounds) for title, value in MEASURES]
    return [chart for chart in found if chart is not None]


def _chart(
    title: str, value: Value, trainings: Sequence[TrainingSoFar], rounds: int
) -> Chart | None:
    curves = {
        t.strategy: [(r.round, v) for r in t.rows if not r.averaged and (v := value(r)) is not None]
        for t in trainings
    }
    curves = {name: _thinned(points) for name, points in curves.items() if points}
    if not curves:
        return None
    last_round = max(rounds, *(points[-1][0] for points in curves.values()), 2)
    low, high = _range([v for points in curves.values() for _, v in points])
    across = (WIDTH - LEFT - RIGHT) / (last_round - 1)
    up = (HEIGHT - TOP - BOTTOM) / (high - low)

    def place(point: tuple[int, float]) -> tuple[float, float]:
        return LEFT + (point[0] - 1) * across, HEIGHT - BOTTOM - (point[1] - low) * up

    kinds = {name: _kind(name, list(curves)) for name in curves}
    lines = [_curve([place(p) for p in curves[name]], kinds[name]) for name in curves]
    latest = ", ".join(
        f"{strategy_name(name)} {number(points[-1][1])} in round {points[-1][0]}"
        for name, points in curves.items()
    )
    label = quoteattr(f"{title} by round. Latest: {latest}.")
    text = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label={label} class="curves">'
        f"{_axes(low, high, last_round)}{''.join(lines)}</svg>"
    )
    legend = tuple((kinds[name], strategy_name(name)) for name in curves)
    return Chart(title=title, svg=Markup(text), legend=legend)


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    step = math.ceil(len(points) / MOST_POINTS)
    return points if step == 1 else [*points[::step], points[-1]]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Limits of the axis, with some room; never empty."""
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 0.01, 1e-6 * abs(high))
    return (max(low - room, 0.0) if low >= 0 else low - room), high + room


def _kind(name: str, order: Sequence[str]) -> str:
    """The class of a training's line; local and pooled training have their own."""
    if name in NOT_FEDERATED:
        return f"line-{name}"
    others = [other for other in order if other not in NOT_FEDERATED]
    return f"line-{others.index(name) % COLOURS}"


def _curve(places: Sequence[tuple[float, float]], kind: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    return (
        f'<polyline class="{kind}" points="{points}"/>'
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    )


def _axes(low: float, high: float, rounds: int) -> str:
    floor = HEIGHT - BOTTOM
    parts = [
        f'<path class="axis" d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}"/>',
        _text(LEFT - 5, TOP + 8, "end", _tick(high)),
        _text(LEFT - 5, floor, "end", _tick(low)),
        _text(LEFT, floor + 15, "middle", "1"),
        _text(WIDTH - RIGHT, floor + 15, "end", str(rounds)),
        _text((LEFT + WIDTH - RIGHT) / 2, floor + 28, "middle", "round"),
    ]
    return "".join(parts)


def _tick(value: float) -> str:
    return f"{value:.2g}" if abs(value) >= 1000 else f"{value:.2f}"


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
