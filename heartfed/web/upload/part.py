"""The stretch of a recording that a page shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.ecg.records import Record
from fl.predict.holter_summary import clock
from heartfed.web.upload.sheet import page_seconds


@dataclass(frozen=True, kw_only=True)
class Part:
    """The stretch of a recording that a page shows."""

    number: int  # from 0
    count: int
    start: float  # s
    end: float
    first: int  # samples
    last: int

    @property
    def times(self) -> str:
        """In words: `0:00:00 to 0:00:30`."""
        return f"{clock(self.start)} to {clock(self.end)}"


def part_of(record: Record, number: int) -> Part:
    duration, seconds = record.signal.shape[1] / record.fs, page_seconds(len(record.leads))
    # A rest of less than a sample would be a page without anything.
    count = max(1, int(np.ceil((duration - 1e-6) / seconds)))
    number = min(number, count - 1)
    start, end = number * seconds, min(duration, (number + 1) * seconds)
    return Part(
        number=number,
        count=count,
        start=start,
        end=end,
        first=round(start * record.fs),
        last=round(end * record.fs),
    )


def inside(peaks: NDArray[np.int64], part: Part) -> list[int]:
    """Which of the R peaks (beat,), in samples, lie in a part."""
    return np.flatnonzero((peaks >= part.first) & (peaks < part.last)).tolist()
