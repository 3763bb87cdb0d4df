"""The sampling rate that a table's column of times says."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.exports.csv_tables.headings import DURATIONS, Heading
from fl.datasets.readers.exports.csv_tables.text_table import TextTable
from fl.util.errors import ConfigError, DataError

# Where a heading names no unit: the unit that gives a rate at which ECGs are recorded.
SLOWEST, FASTEST = 50.0, 10_000.0  # Hz
_UNSURE = ("s", "ms")


def rate_of(
    path: Path, table: TextTable, column: int, heading: Heading, fs: float | None
) -> float | None:
    """Hz by a column of times; None if it says nothing (a sample number). `fs` is that of --fs.

    Raises DataError for gaps, for times that do not increase and for a rate that contradicts `fs`.
    """
    times = table.values[:, column]
    missing = np.flatnonzero(~np.isfinite(times))
    if len(missing):
        raise DataError(
            f"{path}: line {table.lines[missing[0]]} has no value in the column "
            f"{_shown(heading)}. Complete it, or remove the column and give --fs."
        )
    if len(times) < 2:
        return None
    resolution = _resolution([row[column] for row in table.cells])
    _check_steps(path, table, times, resolution, heading)
    step = (times[-1] - times[0]) / (len(times) - 1)
    if heading.number:
        return None
    unit = heading.unit or _unit(path, heading, float(step), fs)
    if not unit:
        return None
    if unit not in DURATIONS:
        raise DataError(
            f"{path}: the column {_shown(heading)} has the unit {unit[:12]!r}. Accepted: s, ms, us."
        )
    rate = 1 / (step * DURATIONS[unit])
    # The first and the last time are rounded by half of the last digit each.
    doubt = max(1e-6, resolution / (times[-1] - times[0]))
    if fs is not None and abs(rate - fs) > max(1e-4, 2 * doubt) * fs:
        raise DataError(
            f"{path}: its column {_shown(heading)} says {rate:.6g} Hz, but --fs is {fs:g}. Correct "
            "--fs, or leave it out."
        )
    if not 0 < rate < 1e6:
        raise DataError(f"{path}: its column {_shown(heading)} says {rate:.6g} Hz.")
    if fs is not None:
        return fs
    return float(round(rate)) if abs(rate - round(rate)) <= doubt * rate else float(rate)


def _unit(path: Path, heading: Heading, step: float, fs: float | None) -> str:
    """The unit of times whose heading names none; "" for sample numbers."""
    if step == 1 and fs is not None:
        return ""
    fitting = [u for u in _UNSURE if SLOWEST <= 1 / (step * DURATIONS[u]) <= FASTEST]
    if step == 1 or not fitting:
        raise ConfigError(
            f"{path}: the column {_shown(heading)} goes up by {step:g}, which may be a time or a "
            "sample number. Name its unit, such as `time [ms]`, or call it `sample` and give --fs."
        )
    return fitting[0]


def _check_steps(
    path: Path,
    table: TextTable,
    times: NDArray[np.float64],
    resolution: float,
    heading: Heading,
) -> None:
    """`DataError` where the steps between samples are not even: a gap, or a sample twice."""
    steps = np.diff(times)
    usual = 1.0 if heading.number else float(np.median(steps))
    # Each time is rounded; numbers of 32 bits have seven digits.
    allowed = max(2.02 * resolution + 2e-7 * float(np.abs(times).max()), 0.05 * abs(usual))
    if heading.number:
        allowed = 1e-9
    wrong = np.flatnonzero((np.abs(steps - usual) > allowed) | (steps <= 0))
    if len(wrong):
        at = int(wrong[0])
        raise DataError(
            f"{path}: line {table.lines[at + 1]}: the column {_shown(heading)} goes from "
            f"{times[at]:.10g} to {times[at + 1]:.10g}; steps of {usual:.6g} are usual. Samples "
            "are missing, or not evenly spaced; times that are rounded too much are not read."
        )


def _resolution(cells: list[str]) -> float:
    """The size of the last digit that the times are written with."""
    texts = [cell.strip() for cell in (*cells[:500], *cells[-500:])]
    if any("e" in text.lower() for text in texts):
        return 0.0  # written with all digits
    return float(10.0 ** -max(len(text.partition(".")[2]) for text in texts))


def _shown(heading: Heading) -> str:
    return repr(heading.text[:20]) if heading.text else "without a heading"
