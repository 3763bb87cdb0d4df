"""Draws where a model looked, as coloured bands over a recording on ECG paper."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as File

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from fl.ecg.records import Record
from fl.explain.saliency import IN_WORDS, Explanation, feature_sentence
from fl.reports.figures import ecg_paper
from fl.reports.figures.svg import styled
from fl.util.atomic_io import write_atomically

__all__ = ["IN_WORDS", "bands", "draw", "feature_sentence", "mark_beat", "save"]

FOR, AGAINST = "#F0A000", "#3C78C8"  # amber speaks for the class, blue against it
LEVELS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)  # of the largest; each level is drawn more opaque
OPACITY = (0.10, 0.20, 0.32, 0.45, 0.58, 0.72)
HALF = 9.0  # mm from the zero line to the edge of a band
LINE, WRAP = 4.0, 0.62  # mm: height of a line of the caption, and characters per mm


@styled
def draw(
    record: Record,
    found: Explanation,
    start: float,
    seconds: float,
    caption: Sequence[str],
    *,
    beat: float | None = None,
    synthetic: bool = False,
    unit: str = "mV",
) -> Figure:
    """Part of a recording on ECG paper, one row per lead, with a band over what mattered.

    `start` and `seconds` are the part that is drawn and `beat` the time of an R peak to mark, all
    in s of the recording. The colours are scaled to the largest contribution in that part; the
    sentences of `caption` are written below the paper.
    """
    first = round(start * record.fs)
    signal = record.signal[:, first : first + round(seconds * record.fs)]
    shown = replace(record, signal=signal)
    strips = [
        ecg_paper.Strip(
            lead=lead, start=0.0, seconds=signal.shape[1] / record.fs, column=0.0, row=row
        )
        for row, lead in enumerate(record.leads)
    ]
    width, paper = ecg_paper.size(strips)
    lines = [part for text in caption for part in textwrap.wrap(text, int(width * WRAP))]
    height = paper + LINE * (len(lines) + 1)
    inch = ecg_paper.INCH
    figure = Figure(figsize=(width / inch, height / inch), dpi=ecg_paper.DPI, facecolor="white")
    axes = figure.add_axes((0.0, 1 - paper / height, 1.0, paper / height))
    ecg_paper.sheet(axes, shown, strips, synthetic=synthetic, unit=unit)
    bands(axes, strips, found, start)
    if beat is not None:
        mark_beat(axes, beat - start)
    for number, text in enumerate(lines):
        figure.text(3 / width, 1 - (paper + LINE * (number + 1)) / height, text, size=7.5)
    return figure


def mark_beat(axes: Axes, seconds: float) -> None:
    """A dotted line at an R peak, `seconds` from the left edge of the traces."""
    x = ecg_paper.LEFT + ecg_paper.SPEED * seconds
    top = axes.get_ylim()[1] - 1
    axes.annotate("this beat", (x + 1, top), ha="left", va="top", size=8, weight="bold")
    axes.axvline(x, color="#0072B2", linewidth=1.2, linestyle=":")


def bands(axes: Axes, strips: Sequence[ecg_paper.Strip], found: Explanation, start: float) -> None:
    """A band over each strip whose lead was explained; the part drawn begins at `start` (s).

    A band is amber where the lead speaks for the class and blue where it speaks against it, the
    more opaque the larger the contribution. Contributions below a tenth of the largest have none.
    """
    values, height = found.smoothed, ecg_paper.size(list(strips))[1]
    times = found.begins - start + np.arange(values.shape[1]) / found.fs if values.size else None
    if times is None:
        return
    pieces = []
    for strip in strips:
        if strip.lead not in found.leads:
            continue
        inside = (times >= strip.start) & (times < strip.start + strip.seconds)
        row = np.where(inside, values[found.leads.index(strip.lead)], 0.0)
        pieces.append((strip, row))
    largest = max((float(np.abs(row).max(initial=0.0)) for _, row in pieces), default=0.0)
    if largest == 0:
        return
    for strip, row in pieces:
        middle = ecg_paper.middle(height, strip.row)
        left = ecg_paper.LEFT + ecg_paper.SPEED * (strip.column - strip.start)
        edges = left + ecg_paper.SPEED * (times[0] + np.arange(len(times) + 1) / found.fs)
        for colour, side in ((FOR, row), (AGAINST, -row)):
            level = np.searchsorted(LEVELS, side / largest, side="right")
            for number, opacity in enumerate(OPACITY, start=1):
                boxes = [(edges[a], edges[b]) for a, b in _runs(level == number)]
                _rectangles(axes, boxes, middle, colour, opacity)


def _runs(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First sample and one past the last of each unbroken stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _rectangles(
    axes: Axes, boxes: Sequence[tuple[float, float]], middle: float, colour: str, opacity: float
) -> None:
    """All bands of one colour and opacity as one shape, below the trace."""
    if not boxes:
        return
    low, high = middle - HALF, middle + HALF
    outlines = [
        Path([(a, low), (b, low), (b, high), (a, high), (a, low)], closed=True) for a, b in boxes
    ]
    shape = Path.make_compound_path(*outlines)
    axes.add_patch(PathPatch(shape, facecolor=colour, alpha=opacity, linewidth=0, zorder=0.5))


def save(figure: Figure, stem: File) -> list[File]:
    """Write the figure as `stem`.svg and `stem`.png, each whole or not at all; their paths."""
    written = []
    for suffix in ("svg", "png"):
        path = stem.with_name(f"{stem.name}.{suffix}")
        write_atomically(path, _content(figure, suffix))
        written.append(path)
    return written


@styled
def _content(figure: Figure, suffix: str) -> bytes:
    out = io.BytesIO()
    metadata = {"Date": None} if suffix == "svg" else {"Software": None}
    figure.savefig(out, format=suffix, dpi=ecg_paper.DPI, metadata=metadata)
    return out.getvalue()
