"""The label mix of every site, for the federation's page and as a file of its own."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fl.reports.figures.svg import (
    CLASS_INKS,
    LIGHT,
    Drawing,
    canvas,
    inline,
    legend_above,
    styled,
)
from fl.reports.number_format import number

SPLITS = ("train", "val", "test")
NAMED_IN_PAGE, NAMED_IN_FILE = 12.0, 7.0  # percent; a narrower piece has no room for a name
PAGE_ROW, FILE_ROW = 0.3, 0.32  # inches per site
MOST_ROWS = 100  # with a bar and a name in the file; of more sites some are named


@styled
def label_mix_drawing(
    rows: Sequence[Mapping[str, Any]], classes: Sequence[str], unit: str, non_iid: float | None
) -> Drawing:
    """The figure for a page: one bar per site, divided by each class's share of positive labels.

    `rows` are those of `partitions.summary.site_rows`.
    """
    figure, axes = canvas(1.3 + PAGE_ROW * len(rows))
    _bars(axes, rows, classes, NAMED_IN_PAGE, 6.5)
    axes.set_yticks(range(len(rows)), _site_names(rows))
    whole = "positive labels" if len(classes) > 1 else unit
    axes.set(xlabel=f"share of {whole} (%)", ylabel=f"hospital ({unit})")
    legend_above(figure, axes)
    return inline(
        figure,
        "mix",
        f"Label mix of each hospital. A bar shows each class's share of the hospital's {whole}; "
        f"the number in brackets counts its {unit}. The mean Jensen-Shannon distance "
        f"between hospitals is {number(non_iid)} (0: the same mix, 1: no class in common).",
    )


def label_mix_svg(
    rows: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    non_iid: float | None,
    synthetic: bool = False,
) -> bytes:
    """The same figure as an SVG file; the same partition gives the same bytes."""
    figure = Figure(figsize=(9.0, 1.7 + FILE_ROW * min(len(rows), MOST_ROWS)), layout="constrained")
    axes = figure.add_subplot()
    if len(rows) <= MOST_ROWS:
        _bars(axes, rows, classes, NAMED_IN_FILE, 7)
    else:
        _areas(axes, rows, classes)
    named = range(0, len(rows), math.ceil(len(rows) / MOST_ROWS))
    axes.set_yticks(named, _site_names([rows[place] for place in named]), fontsize=9.0)
    whole = "positive labels" if len(classes) > 1 else "records"
    axes.set(xlabel=f"share of the site's {whole} (%)", ylabel="site (records)")
    axes.spines[["top", "right"]].set_visible(False)
    kind = "SYNTHETIC DATA. " if synthetic else ""
    axes.set_title(f"{kind}Label mix per site", loc="left", fontsize=11, weight="bold")
    axes.legend(ncols=1, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.supxlabel(
        "A record may show several classes. Mean Jensen-Shannon distance between sites: "
        f"{number(non_iid)} (0: the same mix, 1: no class in common).",
        fontsize=8,
    )
    out = io.BytesIO()
    # Without the date and with fixed ids, the same partition gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "heartfed", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _bars(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    named: float,
    fontsize: float,
) -> None:
    """One horizontal bar per site; a class is named inside its piece from `named` percent on."""
    places, left = np.arange(len(rows)), np.zeros(len(rows))
    for name, colour, width in zip(classes, CLASS_INKS, _shares(rows, classes).T, strict=False):
        bars = axes.barh(places, width, 0.8, left, color=colour, edgecolor="white", label=name)
        text = [name if w >= named else "" for w in width]
        ink = "black" if colour in LIGHT else "white"
        axes.bar_label(bars, text, label_type="center", color=ink, fontsize=fontsize)
        left += width
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5))


def _areas(axes: Axes, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    """The same without gaps and names: an area for each class, however many sites there are."""
    ends, left = np.arange(len(rows) + 1) - 0.5, np.zeros(len(rows))
    for name, colour, width in zip(classes, CLASS_INKS, _shares(rows, classes).T, strict=False):
        right = left + width
        near, far = (np.append(side, side[-1]) for side in (left, right))
        axes.fill_betweenx(ends, near, far, step="post", color=colour, linewidth=0, label=name)
        left = right
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5))


def _shares(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> NDArray[np.float64]:
    """Percent of each site's positive labels that each class has: (site, class)."""
    counts = np.array([[row["labels"][c] for c in classes] for row in rows], dtype=float)
    # Of one class, the share of positive labels is always all: it is that of the records instead.
    of = counts.sum(axis=1) if len(classes) > 1 else [_records(row) for row in rows]
    return np.asarray(100 * counts / np.maximum(of, 1)[:, None])


def _site_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """`site-1 (120)`, with the number of its records in all splits."""
    return [f"{row['site']} ({_records(row)})" for row in rows]


def _records(row: Mapping[str, Any]) -> int:
    """The number of a site's records in all splits."""
    return sum(row[split] for split in SPLITS)
