"""The label mix of every site as a picture."""

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fl.cohort import Cohort
from fl.reports.numbers import number
from fl.reports.svg import LIGHT, PALETTE
from partitions.deal import Partition
from partitions.summary import label_counts

NAMED = 7.0  # percent; a narrower piece has no room for its class's name
ROW = 0.32  # inches per site
MOST_ROWS = 100  # beyond that, rows become narrower instead


def draw_mix(
    cohort: Cohort, partition: Partition, apart: float | None, synthetic: bool = False
) -> bytes:
    """SVG: one bar per site, its pieces the share of each class among its positive labels.

    `apart` is the partition's `non_iid`.
    """
    counts = label_counts(cohort, partition).clip(min=0)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    records = [int((partition.site == name).sum()) for name in partition.sites]
    row = ROW * min(1.0, MOST_ROWS / len(records))
    figure = Figure(figsize=(9.0, 1.7 + row * len(records)), layout="constrained")
    axes = figure.add_subplot()
    places, left = np.arange(len(records)), np.zeros(len(records))
    for name, colour, width in zip(cohort.task.classes, PALETTE, share.T, strict=False):
        bars = axes.barh(places, width, 0.8, left, color=colour, edgecolor="white", label=name)
        text = [name if w >= NAMED and row == ROW else "" for w in width]
        ink = "black" if colour in LIGHT else "white"
        axes.bar_label(bars, text, label_type="center", color=ink, fontsize=7)
        left += width
    size = min(9.0, 72 * row * 0.8)
    names = [f"{name} ({n})" for name, n in zip(partition.sites, records, strict=True)]
    axes.set_yticks(places, names, fontsize=size)
    axes.set(xlim=(0, 100), ylim=(len(records) - 0.5, -0.5))
    axes.set(xlabel="share of the site's positive labels (%)", ylabel="site (records)")
    axes.spines[["top", "right"]].set_visible(False)
    kind = "SYNTHETIC DATA. " if synthetic else ""
    axes.set_title(f"{kind}Label mix per site", loc="left", fontsize=11, weight="bold")
    axes.legend(ncols=1, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.supxlabel(
        "A record may show several classes. Mean Jensen-Shannon distance between sites: "
        f"{number(apart)} (0: alike, 1: no class in common).",
        fontsize=8,
    )
    out = io.BytesIO()
    # No date and no random ids: the same partition gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "heartfed", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
