"""A part of a recording on ECG paper as SVG: 25 mm/s, 10 mm/mV, beats marked, bands over leads."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fl.ecg.records import NO_UNIT, Record
from fl.explain.saliency import Explanation
from fl.reports.figures.ecg_paper import FLAT, GAIN, LEFT, RIGHT, SPEED
from fl.reports.figures.saliency import LEVELS

LINE_SECONDS = 10.0
ROWS = 6  # leads on a page, about: a recording of fewer leads has more lines of ten seconds
MARKS, TIMES = 7.0, 6.0  # mm above and below the rows of a line
TALL, LOW = 25.0, 18.0  # mm of a row, of few leads and of many
MANY = 6  # leads from which on rows are low
STEP = 0.2  # mm: of more samples, the lowest and the highest are drawn
HUNDREDTH = 100.0  # units of a path in a mm
FARTHEST = 1000.0  # mm of a trace from its middle; what is farther is on no paper
BAND_GROUP = 0.04  # s: contributions are shown as means over as long


@dataclass(frozen=True, kw_only=True)
class BeatMark:
    """A beat to be marked: its place, its class and what is to be read of it."""

    number: int  # of the finding
    start: int  # samples
    end: int
    peak: int
    label: str  # class; "" for a beat that no model answered
    words: str


@dataclass(frozen=True, kw_only=True)
class PlacedMark:
    """A mark on the paper, in mm."""

    mark: BeatMark
    x: float
    width: float
    peak: float
    left: float  # of what belongs to this beat alone, half-way to the beats beside it
    right: float


@dataclass(frozen=True, kw_only=True)
class Band:
    """A stretch of a lead that speaks for or against a class, in mm; level 1 to 6."""

    x: float
    width: float
    side: str  # "for" or "against"
    level: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One lead of one line."""

    lead: str
    top: float  # mm
    middle: float
    path: str  # in hundredths of a mm; "" where nothing was recorded
    bands: tuple[Band, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Ten seconds of all leads."""

    top: float  # mm
    bottom: float
    rows: tuple[Row, ...]
    marks: tuple[PlacedMark, ...]
    seconds: tuple[tuple[float, str], ...]  # mm and text of the time axis


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What the template draws, in mm."""

    width: float
    height: float
    row_height: float
    unit: str
    fs: float
    lines: tuple[Line, ...]


def lines_of_page(leads: int) -> int:
    """How many lines of ten seconds a page has."""
    return max(1, ROWS // leads)


def page_seconds(leads: int) -> float:
    """How much of a recording a page shows."""
    return LINE_SECONDS * lines_of_page(leads)


def draw(
    record: Record, start: float, marks: Sequence[BeatMark], explained: Explanation | None
) -> Sheet:
    """The page of a recording that begins at `start` (s), with the beats that are marked."""
    duration = record.signal.shape[1] / record.fs
    row_height = TALL if len(record.leads) <= MANY else LOW
    starts = [start + LINE_SECONDS * i for i in range(lines_of_page(len(record.leads)))]
    starts = [s for s in starts if s < duration] or [start]
    longest = min(LINE_SECONDS, max(duration - starts[0], 1.0))
    end = starts[-1] + LINE_SECONDS
    largest = _largest(explained, start, end) if explained is not None else 0.0
    height = MARKS + row_height * len(record.leads) + TIMES
    medians = np.median(record.signal, axis=1)
    lines = []
    for number, begin in enumerate(starts):
        top = number * height
        rows = tuple(
            Row(
                lead=lead,
                top=top + MARKS + i * row_height,
                middle=top + MARKS + (i + 0.5) * row_height,
                path=_path(record, i, begin, float(medians[i])),
                bands=_bands(explained, lead, begin, largest) if largest > 0 else (),
            )
            for i, lead in enumerate(record.leads)
        )
        lines.append(
            Line(
                top=top,
                bottom=top + height - TIMES,
                rows=rows,
                marks=_placed([m for m in marks if _on(m, begin, record.fs)], begin, record.fs),
                seconds=tuple(
                    (LEFT + SPEED * i, f"{begin + i:g} s")
                    for i in range(int(LINE_SECONDS) + 1)
                    if begin + i <= duration + 1e-9 and i <= longest
                ),
            )
        )
    return Sheet(
        width=LEFT + SPEED * longest + RIGHT,
        height=height * len(starts),
        row_height=row_height,
        unit=NO_UNIT if record.unit == NO_UNIT else "mV",
        fs=record.fs,
        lines=tuple(lines),
    )


def _path(record: Record, lead: int, begin: float, median: float) -> str:
    """The trace of a line around its middle; "" for a lead without a signal."""
    first = round(begin * record.fs)
    shown = record.signal[lead, first : first + round(LINE_SECONDS * record.fs)]
    if len(shown) < 2 or np.ptp(record.signal[lead]) < FLAT:
        return ""
    x = SPEED * np.arange(len(shown), dtype=np.float64) / record.fs
    y = (-GAIN * (shown.astype(np.float64) - median)).clip(-FARTHEST, FARTHEST)
    x, y = _thinned(x, y, record.fs)
    points = np.rint(HUNDREDTH * np.stack([x, y], axis=1)).astype(np.int64)
    steps = np.diff(points, axis=0)
    return f"M{points[0, 0]} {points[0, 1]}l" + " ".join(map(str, steps.ravel().tolist()))


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], fs: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest of the samples in each STEP, in their order."""
    size = int(STEP * fs / SPEED)
    if size < 3:
        return x, y
    whole = len(y) // size * size
    parts = y[:whole].reshape(-1, size)
    ends = np.sort(np.stack([parts.argmin(axis=1), parts.argmax(axis=1)], axis=1), axis=1)
    chosen = (ends + size * np.arange(len(parts))[:, None]).ravel()
    chosen = np.unique(np.concatenate([[0], chosen, [len(y) - 1]]))
    return x[chosen], y[chosen]


def _on(mark: BeatMark, begin: float, fs: float) -> bool:
    return begin <= mark.peak / fs < begin + LINE_SECONDS


def _placed(marks: Sequence[BeatMark], begin: float, fs: float) -> tuple[PlacedMark, ...]:
    """The marks of a line that begins at `begin` (s)."""

    def at(sample: float) -> float:
        return round(LEFT + SPEED * float(np.clip(sample / fs - begin, 0.0, LINE_SECONDS)), 2)

    between = [at((a.peak + b.peak) / 2) for a, b in pairwise(marks)]
    edges = [LEFT, *between, LEFT + SPEED * LINE_SECONDS]
    return tuple(
        PlacedMark(
            mark=mark,
            x=at(mark.start),
            width=round(max(at(mark.end) - at(mark.start), 1.0), 2),
            peak=at(mark.peak),
            left=left,
            right=right,
        )
        for mark, (left, right) in zip(marks, pairwise(edges), strict=False)
    )


def _grouped(found: Explanation) -> tuple[NDArray[np.float64], float]:
    """Mean contributions (lead, group), and the seconds of a group."""
    size = max(1, round(BAND_GROUP * found.fs))
    values = found.smoothed
    whole = values.shape[1] // size * size
    return values[:, :whole].reshape(len(values), -1, size).mean(axis=2), size / found.fs


def _largest(found: Explanation, start: float, end: float) -> float:
    """The largest contribution, for or against, in the part that is shown."""
    if not found.signal.size:
        return 0.0
    values, seconds = _grouped(found)
    times = found.begins + seconds * np.arange(values.shape[1])
    inside = (times >= start) & (times < end)
    return float(np.abs(values[:, inside]).max(initial=0.0))


def _bands(found: Explanation | None, lead: str, begin: float, largest: float) -> tuple[Band, ...]:
    if found is None or lead not in found.leads:
        return ()
    values, seconds = _grouped(found)
    row = values[found.leads.index(lead)]
    times = found.begins + seconds * np.arange(len(row)) - begin
    level = np.searchsorted(LEVELS, np.abs(row) / largest, side="right") * np.sign(row)
    level[(times < 0) | (times >= LINE_SECONDS)] = 0
    edges = np.flatnonzero(np.diff(level, prepend=0, append=0))
    bands = []
    for a, b in pairwise(edges):
        if level[a]:
            side = "for" if level[a] > 0 else "against"
            x, width = LEFT + SPEED * float(times[a]), SPEED * seconds * int(b - a)
            band = Band(x=round(x, 2), width=round(width, 2), side=side, level=int(abs(level[a])))
            bands.append(band)
    return tuple(bands)
