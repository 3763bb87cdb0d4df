"""What is seen of a heartbeat without a model, in words: how early it comes, how wide its QRS is.

These are measures of the signal, not what a network reads. They help to judge an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.records import Record

NEIGHBOURS = 10  # intervals to each side, whose median is the usual interval
FEWEST = 3  # intervals, below which there is no usual one
ON_TIME = 0.10  # share of the usual interval by which a beat may be early or late
BEFORE, AFTER = 0.16, 0.22  # s around an R peak in which its QRS complex is looked for
AROUND = 0.5  # s that are filtered to each side
SLOPE_CUTOFF = 40.0  # Hz: noise above it is steep
LONGEST_QRS = 0.24  # s: what lasts longer holds a T wave too
STEEP = 0.10  # of the largest slope: below, the QRS complex has begun or ended
PAUSE_IN_QRS = 0.024  # s: a peak or a notch has no slope for as long


@dataclass(frozen=True, kw_only=True)
class BeatMeasures:
    """Timing and width of one heartbeat; None where it cannot be seen."""

    early: float | None  # share of the usual interval that is missing before it; late if negative
    qrs: float | None  # s

    @property
    def in_words(self) -> str:
        """`early by 28%, QRS about 140 ms wide`."""
        parts = []
        if self.early is None:
            parts.append("no interval before it to compare")
        elif abs(self.early) <= ON_TIME:
            parts.append("on time")
        else:
            side = "early" if self.early > 0 else "late"
            parts.append(f"{side} by {abs(100 * self.early):.0f}%")
        if self.qrs is not None:
            parts.append(f"QRS about {1000 * self.qrs:.0f} ms wide")
        return ", ".join(parts)


def beat_measures(
    record: Record, peaks: NDArray[np.int64], chosen: Sequence[int]
) -> list[BeatMeasures]:
    """Measures of the chosen beats; `peaks` (beat,) are all R peaks of the recording, in samples.

    The usual interval is the median of those nearby, so that it stays that of the ordinary beats
    unless most are early.
    """
    if not chosen:
        return []
    intervals = np.diff(peaks) / record.fs
    around = round(AROUND * record.fs)
    begin = max(0, int(peaks[min(chosen)]) - around)
    slopes = _slopes(record, begin, int(peaks[max(chosen)]) + around)
    return [
        BeatMeasures(
            early=_early(intervals, beat),
            qrs=_qrs_seconds(slopes, int(peaks[beat]) - begin, record.fs),
        )
        for beat in chosen
    ]


def _early(intervals: NDArray[np.float64], beat: int) -> float | None:
    """How much of the usual interval is missing before a beat."""
    nearby = intervals[max(0, beat - 1 - NEIGHBOURS) : beat + NEIGHBOURS]
    if beat == 0 or len(nearby) < FEWEST:
        return None
    return float(1 - intervals[beat - 1] / max(float(np.median(nearby)), 1e-3))


def _slopes(record: Record, begin: int, end: int) -> NDArray[np.float64]:
    """How steep all leads together are, from sample `begin` to `end`: (sample,)."""
    signal = record.signal[:, begin:end].astype(np.float64)
    if record.fs > 2 * SLOPE_CUTOFF:
        sos = scipy.signal.butter(2, SLOPE_CUTOFF, fs=record.fs, output="sos")
        pad = min(round(AROUND * record.fs), signal.shape[1] - 1)
        signal = scipy.signal.sosfiltfilt(sos, signal, axis=1, padlen=pad)
    if signal.shape[1] < 2:
        return np.zeros(signal.shape[1])
    return np.asarray(np.sqrt((np.gradient(signal, axis=1) ** 2).sum(axis=0)))


def _qrs_seconds(slopes: NDArray[np.float64], peak: int, fs: float) -> float | None:
    """How long the QRS complex around an R peak lasts (s), to about 10 ms.

    From the first moment to the last at which the slope is a tenth of the steepest. None at the
    edges of the recording, and where no slope stands out.
    """
    first, last = peak - round(BEFORE * fs), peak + round(AFTER * fs)
    if first < 0 or last > len(slopes):
        return None
    inside = slopes[first:last]
    steep = np.flatnonzero(inside > STEEP * inside.max())
    if not len(steep):
        return None
    parts = np.split(steep, np.flatnonzero(np.diff(steep) > PAUSE_IN_QRS * fs) + 1)
    found = next(part for part in parts if part[-1] >= inside.argmax())
    if found[0] == 0 or found[-1] == len(inside) - 1:
        return None  # it does not end where a QRS complex would
    seconds = float((found[-1] - found[0]) / fs)
    return seconds if seconds <= LONGEST_QRS else None
