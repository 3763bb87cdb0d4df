"""Finds heartbeats in one lead while it is recorded.

After Pan & Tompkins 1985 (10.1109/TBME.1985.325532) and, for the rules, Hamilton 2002
(10.1109/CIC.2002.1166717): the slope between 5 and 20 Hz, averaged over 80 ms, and thresholds from
the medians of the last eight QRS and noise peaks. Ours: the lead has no baseline any more
(`LeadFilter`), a missed beat is looked for again only while it can still be answered in time, and
after eight seconds without a beat the detector learns again, as an electrode may have been moved.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.beat_segments import BEAT_FS
from fl.ecg.quality import QRS_HEIGHT

Samples = NDArray[np.float32]  # (sample,) mV at BEAT_FS, without baseline

BAND = (5.0, 20.0)  # Hz
AVERAGED = round(0.08 * BEAT_FS)  # samples
ALONE = round(0.2 * BEAT_FS)  # a peak is largest within so many samples on each side
T_WAVE = round(0.36 * BEAT_FS)  # a peak so soon after a beat, with half its slope, is a T wave
# The R peak is between so many samples before the peak of the averaged slope.
QRS_BEFORE, QRS_AFTER = round(0.16 * BEAT_FS), round(0.02 * BEAT_FS)
NEARLY = 0.9  # of the largest deflection there
REMEMBERED = 8  # QRS peaks, noise peaks and intervals
THRESHOLD = 0.3  # of the way from the usual noise peak to the usual QRS peak
LATE = 1.5  # times the usual interval: then a smaller peak is accepted too
AGAIN = 0.5  # of the threshold, for such a peak
LOOK_BACK = round(0.85 * BEAT_FS)  # samples: an older peak could not be answered in time
LEARNING = round(3 * BEAT_FS)  # samples, in which no beat is found
RELEARN = round(8 * BEAT_FS)  # samples without a beat
KEPT = round(2 * BEAT_FS)  # samples of history
LEAST_LEVEL = 0.1  # of the level before; when learning again, less is noise


@dataclass(kw_only=True)
class QrsDetector:
    """Samples of one lead in, R peaks out: `push`."""

    read: int = 0  # samples so far
    last: int | None = None  # the last R peak
    _qrs: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _noise: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _intervals: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _last_slope: float = 0.0  # of the last beat
    _last_energy: int = 0  # where the energy of the last beat peaked
    _since: int = 0  # where learning began
    _learning: bool = True
    _rejected: list[tuple[int, float]] = field(default_factory=list)  # peaks, and their energy

    def __post_init__(self) -> None:
        self._sos = scipy.signal.butter(2, BAND, "bandpass", fs=BEAT_FS, output="sos")
        self._state = np.zeros((len(self._sos), 2))
        self._lead = np.zeros(KEPT, dtype=np.float32)  # the last KEPT samples
        self._slopes = np.zeros(KEPT)  # absolute slopes of the filtered lead
        self._energy = np.zeros(KEPT)
        self._filtered = 0.0  # the last filtered sample

    @property
    def final(self) -> int:
        """Up to this sample nothing but a peak that is looked for again can still be found."""
        return max(0, self.read - ALONE - QRS_BEFORE)

    def push(self, samples: Samples) -> list[int]:
        """The R peaks that the new samples show, in order of time."""
        found: list[int] = []
        for start in range(0, len(samples), ALONE):  # so that the history is always long enough
            found += self._push(samples[start : start + ALONE])
        return found

    def _push(self, samples: Samples) -> list[int]:
        new = len(samples)
        filtered, self._state = scipy.signal.sosfilt(self._sos, samples, zi=self._state)
        slopes = np.abs(filtered - np.concatenate([[self._filtered], filtered[:-1]]))
        self._filtered = float(filtered[-1])
        sums = np.concatenate([self._slopes[KEPT - AVERAGED + 1 :], slopes]).cumsum()
        energy = (sums[AVERAGED - 1 :] - np.concatenate([[0.0], sums[: new - 1]])) / AVERAGED
        self._lead = np.concatenate([self._lead[new:], samples])
        self._slopes = np.concatenate([self._slopes[new:], slopes])
        self._energy = np.concatenate([self._energy[new:], energy])
        self.read += new
        self._learn()
        found = []
        for place in self._peaks(new):
            found += self._decide(place)
        found += self._look_again()
        return found

    def _peaks(self, new: int) -> list[int]:
        """Peaks of the energy that are now known to be the largest nearby: sample numbers."""
        part = self._energy[KEPT - 2 * ALONE - new :]
        largest = scipy.ndimage.maximum_filter1d(part, 2 * ALONE + 1)
        inner = slice(ALONE, ALONE + new)
        is_peak = (part[inner] == largest[inner]) & (part[inner] > 0)
        first = self.read - new - ALONE
        return [first + int(place) for place in np.flatnonzero(is_peak) if first + place >= 0]

    def _learn(self) -> None:
        """The first level of the QRS peaks, and another one after a long time without any."""
        quiet = self.read - max(self.last or 0, self._since)
        if not self._learning and quiet >= RELEARN:
            self._learning, self._since = True, self.read - LEARNING
        if self._learning and self.read - self._since >= LEARNING:
            part = self._energy[-min(KEPT, LEARNING) :]
            seconds = np.array_split(part, max(1, len(part) // round(BEAT_FS)))
            level = float(np.median([second.max() for second in seconds]))
            before = median(self._qrs) if self._qrs else 0.0
            self._learning, self._since = False, self.read
            if level > LEAST_LEVEL * before:
                self._qrs.clear()
                self._noise.clear()
                self._qrs.append(level)

    @property
    def _threshold(self) -> float:
        noise = median(self._noise) if self._noise else 0.0
        return noise + THRESHOLD * max(median(self._qrs) - noise, 0.0)

    def _decide(self, place: int) -> list[int]:
        """The R peak of an energy peak at `place`, if it is that of a beat."""
        energy = float(self._energy[self._index(place)])
        if self._learning or not self._qrs:
            return []
        since = place - self._last_energy if self.last is not None else KEPT
        if since <= ALONE:
            return []
        t_wave = since < T_WAVE and self._slope(place) < 0.5 * self._last_slope
        if energy > self._threshold and not t_wave and self._height(place) >= QRS_HEIGHT[0]:
            return [self._accept(place, energy)]
        self._noise.append(energy)
        self._rejected.append((place, energy))
        return []

    def _look_again(self) -> list[int]:
        """A missed beat: the largest rejected peak, when the next beat is late."""
        self._rejected = [one for one in self._rejected if self.read - one[0] <= LOOK_BACK]
        if self.last is None or not self._intervals or self._learning or not self._rejected:
            return []
        usual = median(self._intervals)
        if self.read - ALONE - self._last_energy < LATE * usual:
            return []
        late = [one for one in self._rejected if one[0] - self._last_energy > T_WAVE]
        place, energy = max(late, key=lambda one: one[1], default=(0, 0.0))
        if energy <= AGAIN * self._threshold or self._height(place) < QRS_HEIGHT[0]:
            return []
        return [self._accept(place, energy)]

    def _accept(self, place: int, energy: float) -> int:
        peak = self._r_peak(place)
        if self.last is not None:
            peak = max(peak, self.last + 1)
            self._intervals.append(peak - self.last)
        self._qrs.append(energy)
        self._last_slope, self._last_energy, self.last = self._slope(place), place, peak
        self._rejected = [one for one in self._rejected if one[0] > place]
        return peak

    def _index(self, place: int) -> int:
        return place - self.read + KEPT

    def _nearby(self, place: int) -> tuple[int, Samples]:
        """The lead before the energy's peak, and the index of its first sample."""
        end = self._index(place)
        first = max(end - QRS_BEFORE, 0)
        return first, self._lead[first : end - QRS_AFTER]

    def _slope(self, place: int) -> float:
        end = self._index(place) + 1
        return float(self._slopes[max(end - 2 * AVERAGED, 0) : end].max())

    def _height(self, place: int) -> float:
        return float(np.ptp(self._nearby(place)[1]))

    def _r_peak(self, place: int) -> int:
        """The first deflection that is nearly as large as the largest one nearby.

        Of a wide ventricular beat the second one is often the largest, and the first its R peak.
        """
        first, values = self._nearby(place)
        size = np.abs(values)
        is_peak = np.r_[True, size[1:] >= size[:-1]] & np.r_[size[:-1] > size[1:], True]
        large = np.flatnonzero(is_peak & (size >= NEARLY * size.max()))
        return first + int(large[0]) + self.read - KEPT
