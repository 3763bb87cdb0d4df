"""Draws a recording on ECG paper: 25 mm/s and 10 mm/mV, to scale when printed at its own size."""

from dataclasses import dataclass
from pathlib import Path as File

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from fl.ecg.records import LEADS, Record
from fl.util.errors import ConfigError

SPEED = 25.0  # mm per s
GAIN = 10.0  # mm per mV
INCH = 25.4  # mm
DPI = 150  # of a PNG file, which states it, so that programs can print it to scale

# One hue for the paper and a near-black trace: they differ in lightness, not in hue alone.
FINE, COARSE, TRACE = "#f7e0da", "#e5aea3", "#101418"

COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
COLUMN_SECONDS = 2.5
RHYTHM_LEAD = "II"

LEFT, RIGHT, TOP, BOTTOM = 12.0, 3.0, 10.0, 7.0  # mm around the traces
ROW = 25.0  # mm from one row to the next
FLAT = 0.001  # mV from lowest to highest: with less, the electrode was not connected


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A piece of one lead and its place on the sheet."""

    lead: str
    start: float  # s
    seconds: float
    column: float  # s from the left edge of the traces
    row: int  # from 0 at the top


def draw(
    record: Record,
    seconds: float = 10.0,
    *,
    leads: tuple[str, ...] | None = None,
    synthetic: bool = False,
    unit: str = "mV",
) -> Figure:
    """The first seconds of a recording on ECG paper, in the size of the paper.

    A recording of all twelve leads and 10 s or more takes the standard sheet: three rows of 2.5 s
    per lead and 10 s of lead II below. Any other recording takes one row per lead. A lead that
    is asked for in `leads` and missing, or flat, gets an empty row marked "not recorded".
    """
    strips = layout(leads or record.leads, min(seconds, record.signal.shape[1] / record.fs))
    width, height = size(strips)
    figure = Figure(figsize=(width / INCH, height / INCH), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    sheet(axes, record, strips, synthetic=synthetic, unit=unit)
    return figure


def save(
    record: Record,
    path: File,
    seconds: float = 10.0,
    *,
    leads: tuple[str, ...] | None = None,
    synthetic: bool = False,
    unit: str = "mV",
) -> None:
    """Write the sheet of `draw` as .png or .svg; `ConfigError` for any other suffix."""
    if path.suffix not in (".png", ".svg"):
        raise ConfigError(
            f"{path.name}: the suffix is {path.suffix!r}. Accepted: .png or .svg. Name the file "
            "with one of them."
        )
    figure = draw(record, seconds, leads=leads, synthetic=synthetic, unit=unit)
    unfinished = path.with_name(f".{path.name}.part")
    figure.savefig(unfinished, format=path.suffix[1:], dpi=DPI)
    unfinished.replace(path)


def layout(leads: tuple[str, ...], seconds: float) -> list[Strip]:
    """The place of each lead: the standard sheet for twelve leads of 10 s, else one row each."""
    if set(leads) != set(LEADS) or seconds < len(COLUMNS) * COLUMN_SECONDS:
        return [
            Strip(lead=lead, start=0.0, seconds=seconds, column=0.0, row=row)
            for row, lead in enumerate(leads)
        ]
    strips = []
    for i, column in enumerate(COLUMNS):
        start = i * COLUMN_SECONDS  # the columns follow each other in time, as on a recorder
        for row, lead in enumerate(column):
            strips.append(
                Strip(lead=lead, start=start, seconds=COLUMN_SECONDS, column=start, row=row)
            )
    total = len(COLUMNS) * COLUMN_SECONDS
    return [*strips, Strip(lead=RHYTHM_LEAD, start=0.0, seconds=total, column=0.0, row=3)]


def size(strips: list[Strip]) -> tuple[float, float]:
    """Width and height of the sheet in mm."""
    seconds = max(strip.column + strip.seconds for strip in strips)
    rows = 1 + max(strip.row for strip in strips)
    return LEFT + SPEED * seconds + RIGHT, BOTTOM + ROW * rows + TOP


def sheet(
    axes: Axes, record: Record, strips: list[Strip], *, synthetic: bool = False, unit: str = "mV"
) -> None:
    """Draw paper, traces and captions; the axes' unit is the millimetre."""
    width, height = size(strips)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    _grid(axes, width, height)
    for row in sorted({strip.row for strip in strips}):
        _calibration(axes, middle(height, row))
    for strip in strips:
        _trace(axes, record, strip, middle(height, strip.row))
    kind = "SYNTHETIC   " if synthetic else ""
    axes.text(
        3, height - 3, f"{kind}{record.source}   {record.name}", va="top", size=9, weight="bold"
    )
    axes.text(3, 2.5, f"25 mm/s   10 mm/{unit}   {record.fs:g} Hz", size=7)


def middle(height: float, row: int) -> float:
    """Height of a row's zero line in mm, on a heavy line of the grid."""
    return float(5 * np.floor((height - TOP - ROW * (row + 0.5)) / 5))


def _grid(axes: Axes, width: float, height: float) -> None:
    """A line at every millimetre and a heavier one at every fifth, each kind as one shape."""
    for step, colour, line_width in ((1, FINE, 0.3), (5, COARSE, 0.5)):
        vertical = [[(x, 0.0), (x, height)] for x in np.arange(LEFT % 5, width, step)]
        horizontal = [[(0.0, y), (width, y)] for y in np.arange(0, height, step)]
        path = Path.make_compound_path(*(Path(line) for line in vertical + horizontal))
        axes.add_patch(
            PathPatch(path, edgecolor=colour, facecolor="none", linewidth=line_width, zorder=0)
        )


def _calibration(axes: Axes, middle: float) -> None:
    """The calibration pulse of 1 mV and 0.2 s at the start of a row."""
    x = np.array([0.0, 1.0, 1.0, 6.0, 6.0, 7.0]) + LEFT - 10
    y = np.array([0.0, 0.0, GAIN, GAIN, 0.0, 0.0]) + middle
    axes.plot(x, y, color=TRACE, linewidth=0.7)


def _trace(axes: Axes, record: Record, strip: Strip, middle: float) -> None:
    """One strip around the lead's median, with the lead's name above its start."""
    left = LEFT + SPEED * strip.column
    axes.text(left + 1, middle + 8.5, strip.lead, size=8, weight="bold", zorder=1)
    signal = record.signal[record.leads.index(strip.lead)] if strip.lead in record.leads else None
    if signal is None or np.ptp(signal) < FLAT:
        axes.text(left + 1, middle, "not recorded", size=8, style="italic", color="#555555")
        return
    first = round(strip.start * record.fs)
    shown = signal[first : first + round(strip.seconds * record.fs)]
    x = left + SPEED * np.arange(len(shown)) / record.fs
    axes.plot(x, middle + GAIN * (shown - np.median(signal)), color=TRACE, linewidth=0.6)
