"""Plots of the speed benchmarks."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def svg(figure: Figure) -> bytes:
    """The figure as SVG: the same figure gives the same bytes, and its texts stay texts."""
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "heartfed", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def tidy(axes: Axes, axis: str = "both") -> None:
    """Remove the frame at the top and the right, and add a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3, axis=axis)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def bars(axes: Axes, names: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> None:
    """Horizontal bars in groups by name, from the top; None draws no bar."""
    thickness = 0.8 / len(series)
    for place, (label, values) in enumerate(series.items()):
        known = [(row, value) for row, value in enumerate(values) if value is not None]
        drawn = axes.barh(
            [row + (place - (len(series) - 1) / 2) * thickness for row, _ in known],
            [value for _, value in known],
            height=0.92 * thickness,
            label=label,
        )
        axes.bar_label(drawn, fmt=_short, padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    tidy(axes, "x")
    if len(series) > 1:
        # Above the bars, because with few names there is no room beside them.
        axes.legend(
            frameon=False, fontsize=8, ncols=len(series), loc="lower left", bbox_to_anchor=(0, 1)
        )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
