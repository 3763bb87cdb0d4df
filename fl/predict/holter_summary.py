"""A Holter recording by the hour: heart rate, S and V beats, pauses, and what cannot be said.

The columns are those that a report of ambulatory monitoring has by hour (Steinberg et al. 2017,
ISHNE-HRS consensus, 10.1016/j.hrthm.2017.03.038). The terms, for S and for V beats alike:

- single: one beat of the class between beats of other classes; couplet: two in a row; run: three
  or more in a row (non-sustained tachycardia has three or more: Zeppenfeld et al. 2022,
  10.1093/eurheartj/ehac262). A run has no lower limit of its rate here: the rate is reported.
- bigeminy: single beats that alternate with N beats, at least three in turn, as common Holter
  software counts it.
- pause: an RR interval of 2 s or more (as in Liu et al. 2018, 10.1161/JAHA.118.009034). A beat that
  the detector misses looks like one.

Nothing is counted in parts of the recording that cannot be read: a beat there is in no class, and
an interval that touches such a part is neither a pause nor in the heart rate, and ends any row of
beats. A beat and an interval belong to the hour in which they begin, a row of beats to that of its
first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Peaks = NDArray[np.int64]  # (beat,) sample numbers, in order of time
Mask = NDArray[np.bool_]
Part = tuple[int, int]  # first sample, and one past the last

HOUR = 3600  # s
PAUSE = 2.0  # s
RATE_INTERVALS = 8  # lowest and highest heart rate: mean of so many RR intervals in a row
BIGEMINY = 3  # single beats in turn
ECTOPIC = ("S", "V")


@dataclass(frozen=True, kw_only=True)
class Run:
    """Three or more beats of a class in a row."""

    beats: int
    rate: float  # per minute, from its first beat to its last
    at: str  # h:mm:ss


@dataclass(frozen=True, kw_only=True)
class Ectopy:
    """How often beats of one class occur, and in which company."""

    beats: int
    single: int
    couplets: int
    runs: int
    longest_run: Run | None
    bigeminy: int  # episodes


@dataclass(frozen=True, kw_only=True)
class LongestInterval:
    """The longest RR interval; a pause if it is 2 s or longer."""

    seconds: float
    at: str  # h:mm:ss of its first beat


@dataclass(frozen=True, kw_only=True)
class Period:
    """An hour of the recording, or all of it."""

    start: str  # h:mm:ss from the start of the recording
    end: str
    beats: int  # that are answered
    beats_not_answered: int  # in parts that cannot be read
    cannot_say: float  # share of the time that cannot be read
    mean_rate: float | None  # heartbeats per minute of the time that can be read
    lowest_rate: float | None  # mean of RATE_INTERVALS intervals
    highest_rate: float | None
    pauses: int
    longest_interval: LongestInterval | None
    ectopy: dict[str, Ectopy]  # of S and of V


@dataclass(frozen=True, kw_only=True)
class HolterSummary:
    """A recording by the hour, the last of which may be shorter, and in all."""

    hours: tuple[Period, ...]
    total: Period


def clock(seconds: float) -> str:
    """A time from the start of the recording: h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def summarise(
    peaks: Peaks,
    classes: Sequence[str],
    answered: Mask,
    unreadable: Sequence[Part],
    length: int,
    fs: float,
) -> HolterSummary:
    """The summary of a recording of `length` samples at `fs` (Hz).

    `classes` (beat,) are the predicted classes and `answered` (beat,) says which beats have one;
    `unreadable` are the parts that cannot be read, in order of time and without overlap.
    """
    beats = _Beats(peaks, np.array(classes, dtype=np.str_), answered, tuple(unreadable), fs)
    rows = {name: beats.rows(name) for name in ECTOPIC}
    size = round(HOUR * fs)
    return HolterSummary(
        hours=tuple(
            beats.period(start, min(start + size, length), rows)
            for start in range(0, max(length, 1), size)
        ),
        total=beats.period(0, length, rows),
    )


@dataclass(frozen=True)
class _Rows:
    """Beats of one class in a row: (row,) each."""

    first: NDArray[np.int64]  # index of the first beat
    beats: NDArray[np.int64]  # how many
    bigeminy: NDArray[np.int64]  # (episode,) index of the first beat of each


@dataclass(frozen=True)
class _Beats:
    """The beats of a recording and the intervals between them."""

    peaks: Peaks
    classes: NDArray[np.str_]
    answered: Mask
    unreadable: tuple[Part, ...]
    fs: float

    @cached_property
    def joined(self) -> Mask:
        """(interval,) whether the interval from each beat to the next can be read throughout."""
        starts, ends = np.array(self.unreadable, dtype=np.int64).reshape(-1, 2).T
        begun = np.searchsorted(starts, self.peaks[1:], side="right")
        over = np.searchsorted(ends, self.peaks[:-1], side="right")
        return np.asarray(self.answered[:-1] & self.answered[1:] & (begun == over))

    def rows(self, name: str) -> _Rows:
        """The rows of beats of a class."""
        of_class = self.answered & (self.classes == name)
        goes_on = np.zeros(len(of_class), dtype=bool)
        goes_on[1:] = of_class[1:] & of_class[:-1] & self.joined
        first = np.flatnonzero(of_class & ~goes_on)
        after = np.flatnonzero(of_class & ~np.append(goes_on[1:], False)) + 1
        return _Rows(first, after - first, self._bigeminy(first[after - first == 1]))

    def _bigeminy(self, single: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first beats of episodes of bigeminy among single beats (beat,) of a class."""
        joined = self.joined
        alternate = np.array(
            [
                b - a == 2 and self.classes[a + 1] == "N" and joined[a] and joined[a + 1]
                for a, b in pairwise(single)
            ],
            dtype=bool,
        )
        chains = np.split(single, np.flatnonzero(~alternate) + 1)
        return np.array([c[0] for c in chains if len(c) >= BIGEMINY], dtype=np.int64)

    def period(self, start: int, end: int, rows: dict[str, _Rows]) -> Period:
        """The part of the recording from sample `start` to `end`."""
        inside = (self.peaks >= start) & (self.peaks < end)
        answered = inside & self.answered
        seconds = np.diff(self.peaks) / self.fs
        begins = np.flatnonzero(self.joined & inside[:-1])
        intervals = seconds[begins]
        means = self._mean_intervals(seconds, begins)
        longest = begins[intervals.argmax()] if len(intervals) else None
        unreadable = sum(max(0, min(b, end) - max(a, start)) for a, b in self.unreadable)
        return Period(
            start=clock(start / self.fs),
            end=clock(end / self.fs),
            beats=int(answered.sum()),
            beats_not_answered=int((inside & ~self.answered).sum()),
            cannot_say=unreadable / max(end - start, 1),
            mean_rate=60 * len(intervals) / float(intervals.sum()) if len(intervals) else None,
            lowest_rate=60 / float(means.max()) if len(means) else None,
            highest_rate=60 / float(means.min()) if len(means) else None,
            pauses=int((intervals >= PAUSE).sum()),
            longest_interval=None
            if longest is None
            else LongestInterval(seconds=float(seconds[longest]), at=self._at(longest)),
            ectopy={
                name: self._ectopy(answered & (self.classes == name), inside, found)
                for name, found in rows.items()
            },
        )

    def _mean_intervals(
        self, seconds: NDArray[np.float64], begins: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Mean of RATE_INTERVALS intervals in a row, from each that begins in the period (s)."""
        if len(seconds) < RATE_INTERVALS:
            return np.zeros(0)
        windows = np.lib.stride_tricks.sliding_window_view
        whole: Mask = np.asarray(windows(self.joined, RATE_INTERVALS).all(axis=1))
        means = windows(seconds, RATE_INTERVALS).mean(axis=1)
        begins = begins[begins < len(whole)]
        return np.asarray(means[begins[whole[begins]]])

    def _ectopy(self, beats: Mask, inside: Mask, rows: _Rows) -> Ectopy:
        """The beats of one class, and the rows of them that begin in a period."""
        here = inside[rows.first]
        first, number = rows.first[here], rows.beats[here]
        longest = None
        if (number >= 3).any():
            i = first[number.argmax()]
            n = int(number.max())
            seconds = (self.peaks[i + n - 1] - self.peaks[i]) / self.fs
            longest = Run(beats=n, rate=float(60 * (n - 1) / seconds), at=self._at(i))
        return Ectopy(
            beats=int(beats.sum()),
            single=int((number == 1).sum()),
            couplets=int((number == 2).sum()),
            runs=int((number >= 3).sum()),
            longest_run=longest,
            bigeminy=int(inside[rows.bigeminy].sum()),
        )

    def _at(self, beat: int | np.integer[Any]) -> str:
        return clock(self.peaks[beat] / self.fs)
