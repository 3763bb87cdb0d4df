"""Lines of samples from a program or the network: nothing in them is believed.

A header names the columns (`time,I,II`; see `fl.datasets.readers.exports.csv_tables`), then comes
one line per sample. A line that cannot be read costs that line: its sample is missing. An empty
cell is a missing sample. Where the time jumps ahead, samples are missing in between.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.exports.csv_tables.csv_recording import UNITS
from fl.datasets.readers.exports.csv_tables.headings import DURATIONS, VOLTAGES, parse_heading
from fl.util.errors import ConfigError

LONGEST_LINE = 4096  # bytes
MOST_COLUMNS = 64
RATE_LINES = 100  # of which the sampling rate is taken, unless it is given
RATES = 50.0, 10_000.0  # Hz that are accepted
NEAR_WHOLE = 0.005  # a rate so near to a whole number is that number: times are rounded
MOST_MISSING = 10.0  # s that are filled when the time jumps ahead; then the time starts again


class LineSplitter:
    """Bytes in, lines out; a line longer than LONGEST_LINE comes out as None, once."""

    def __init__(self) -> None:
        """With nothing waiting."""
        self._rest = b""
        self._too_long = False  # the rest of a line that has been given up

    def push(self, data: bytes) -> Iterator[bytes | None]:
        """The lines that the new bytes complete, without their ends."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._too_long:
                yield line.rstrip(b"\r") if len(line) <= LONGEST_LINE else None
            self._too_long = False
        if len(self._rest) > LONGEST_LINE:
            if not self._too_long:
                yield None
            self._rest, self._too_long = b"", True

    def finish(self) -> Iterator[bytes | None]:
        """A last line without an end."""
        if self._rest and not self._too_long:
            yield self._rest
        self._rest, self._too_long = b"", False


@dataclass(kw_only=True)
class SampleLines:
    """Lines in, samples out: `push`. `leads` and `fs` are known once `ready`."""

    fs: float | None = None  # Hz; None: by the column of times
    unit: str = ""  # a name of UNITS; "" for that of the headings, else mV
    names: Sequence[str] = ()  # of the columns, where there is no header
    lines: int = 0
    unread: int = 0  # lines that could not be read
    first_unread: str = ""  # why, of the first
    not_leads: int = 0  # columns that are neither a lead nor the time
    jumps: int = 0  # of the time: backwards, or by more than MOST_MISSING
    _columns: dict[str, tuple[int, float]] = field(default_factory=dict)  # lead: place, mV of one
    _time: tuple[int, float] | None = None  # place of the times, and s of one
    _width: int = 0
    _early: list[tuple[float | None, list[float]]] = field(default_factory=list)
    _previous: float | None = None  # s
    _doubted: float | None = None  # s: the time of a line after a jump

    def __post_init__(self) -> None:
        if self.names:
            self._header(list(self.names))
            if not self._columns:
                raise ConfigError(f"--leads {','.join(self.names)}: names no lead, such as II.")

    @property
    def leads(self) -> tuple[str, ...]:
        """The leads, in the order of the columns; none before the header."""
        return tuple(self._columns)

    @property
    def ready(self) -> bool:
        """Whether leads and sampling rate are known."""
        return bool(self._columns) and self.fs is not None

    def push(self, line: bytes | None) -> NDArray[np.float32] | None:
        """The samples (lead, sample) mV that a line completes, nan where one is missing."""
        self.lines += 1
        try:
            if line is None:
                raise ValueError(f"longer than {LONGEST_LINE} bytes")
            cells = _cells(line)
            if not self._columns:
                self._header(cells)
                if not self._columns:
                    raise ValueError("no header with a lead, such as time,I,II, before it")
                return None
            time, values = self._values(cells)
            return self._samples(time, values)
        except ValueError as error:
            self.unread += 1
            self.first_unread = self.first_unread or f"line {self.lines}: {error}"
            return self._missing_line()

    def _missing_line(self) -> NDArray[np.float32] | None:
        """A line without times still was a sample; with times, the next line shows the gap."""
        if not self.ready or self._time is not None:
            return None
        return np.full((len(self._columns), 1), np.nan, dtype=np.float32)

    def finish(self) -> NDArray[np.float32] | None:
        """The samples of a stream that ended before its sampling rate was known."""
        if self.ready or len(self._early) < 2:
            return None
        try:
            return self._rate_known()
        except ValueError as error:
            self.unread += 1
            self.first_unread = self.first_unread or str(error)
            return None

    def _header(self, names: list[str]) -> None:
        headings = [parse_heading(name.strip()) for name in names]
        columns: dict[str, tuple[int, float]] = {}
        time = None
        for place, heading in enumerate(headings):
            if heading.lead and heading.lead not in columns:
                scale = UNITS[self.unit] if self.unit else VOLTAGES.get(heading.unit, 1.0)
                columns[heading.lead] = (place, scale)
            elif heading.time and time is None:
                time = (place, DURATIONS.get(heading.unit, 1.0))
        if columns and time is None and self.fs is None:
            raise ValueError("the header has no column of times, and --fs is not given")
        self._columns, self._time, self._width = columns, time, len(names)
        self.not_leads = len(names) - len(columns) - (time is not None)

    def _values(self, cells: list[str]) -> tuple[float | None, list[float]]:
        """The time (s) and the leads (mV) of a line."""
        if len(cells) != self._width:
            raise ValueError(f"{len(cells)} columns; the header has {self._width}")
        values = [
            _number(cells[place]) * scale if cells[place].strip() else math.nan
            for place, scale in self._columns.values()
        ]
        if self._time is None:
            return None, values
        place, seconds = self._time
        time = _number(cells[place]) * seconds
        if not math.isfinite(time):
            raise ValueError("its time is not a number")
        return time, values

    def _samples(self, time: float | None, values: list[float]) -> NDArray[np.float32] | None:
        if self.fs is None:
            self._early.append((time, values))
            return self._rate_known() if len(self._early) > RATE_LINES else None
        missing = self._missing_before(time) if time is not None else 0
        made = np.full((len(values), missing + 1), np.nan)
        made[:, -1] = values
        with np.errstate(over="ignore"):  # too large a number counts as missing later
            return made.astype(np.float32)

    def _missing_before(self, time: float) -> int:
        """How many samples are missing before a line; ValueError for a time that is doubted."""
        assert self.fs is not None
        previous, doubted = self._previous, self._doubted
        self._doubted = None
        if previous is None:
            self._previous = time
            return 0
        step = time - previous
        if 0 < step <= MOST_MISSING + 1 / self.fs:
            self._previous = time
            return max(round(step * self.fs) - 1, 0)
        if doubted is not None and 0 < time - doubted <= 2 / self.fs:
            self._previous = time  # two lines agree: the clock was set
            self.jumps += 1
            return round(MOST_MISSING * self.fs) if time > previous else 0
        self._doubted = time
        raise ValueError(f"its time is {step:+.6g} s from the line before it")

    def _rate_known(self) -> NDArray[np.float32] | None:
        """The sampling rate by the times of the first lines, and their samples."""
        times = np.array([time for time, _ in self._early], dtype=np.float64)
        early, self._early = self._early, []
        steps = np.diff(times)
        rate = 1 / float(np.median(steps)) if (np.median(steps) > 0) else 0.0
        usual = np.abs(steps * rate - 1) < 0.5
        if rate and usual.any():
            rate = 1 / float(steps[usual].mean())
        if not RATES[0] <= rate <= RATES[1]:
            self.unread += len(early) - 1  # the last one is counted by whoever catches this
            raise ValueError(
                f"the times of the first lines give {rate:.4g} Hz; {RATES[0]:g} to {RATES[1]:g} "
                "Hz are accepted. Correct the times, or give --fs"
            )
        whole = round(rate)
        self.fs = float(whole) if abs(rate / whole - 1) < NEAR_WHOLE else rate
        parts = []
        for time, values in early:
            try:
                part = self._samples(time, values)
            except ValueError as error:
                self.unread += 1
                self.first_unread = self.first_unread or str(error)
                continue
            assert part is not None
            parts.append(part)
        return np.concatenate(parts, axis=1)


def _number(cell: str) -> float:
    """The number in a cell; the error does not show the cell, which may name a patient."""
    try:
        return float(cell)
    except ValueError:
        raise ValueError("a cell is not a number") from None


def _cells(line: bytes) -> list[str]:
    """The cells of a line; ValueError if it is no text, or has too many."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("no text in UTF-8") from None
    cells = text.lstrip("\ufeff").split(",")
    if len(cells) > MOST_COLUMNS:
        raise ValueError(f"{len(cells)} columns; at most {MOST_COLUMNS} are read")
    return cells
