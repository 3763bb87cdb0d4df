"""The label mix of every site, for the federation's page and as a file of its own."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
MOST_ROWS = 100  # of the usual height in the file; with more sites, rows are narrower


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
    row = FILE_ROW * min(1.0, MOST_ROWS / len(rows))
    figure = Figure(figsize=(9.0, 1.7 + row * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, rows, classes, NAMED_IN_FILE if row == FILE_ROW else 101.0, 7)
    axes.set_yticks(range(len(rows)), _site_names(rows), fontsize=min(9.0, 72 * row * 0.8))
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
    counts = np.array([[row["labels"][c] for c in classes] for row in rows], dtype=float)
    # Of one class, the share of positive labels is always all: it is that of the records instead.
    of = counts.sum(axis=1) if len(classes) > 1 else [_records(row) for row in rows]
    share = 100 * counts / np.maximum(of, 1)[:, None]
    places, left = np.arange(len(rows)), np.zeros(len(rows))
    for name, colour, width in zip(classes, CLASS_INKS, share.T, strict=False):
        bars = axes.barh(places, width, 0.8, left, color=colour, edgecolor="white", label=name)
        text = [name if w >= named else "" for w in width]
        ink = "black" if colour in LIGHT else "white"
        axes.bar_label(bars, text, label_type="center", color=ink, fontsize=fontsize)
        left += width
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5))


def _site_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """`site-1 (120)`, with the number of its records in all splits."""
    return [f"{row['site']} ({_records(row)})" for row in rows]


def _records(row: Mapping[str, Any]) -> int:
    """The number of a site's records in all splits."""
    return sum(row[split] for split in SPLITS)
