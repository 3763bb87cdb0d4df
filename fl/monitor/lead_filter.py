"""The filters of the beat task as streams: resampling, and the baseline's median filters.

They give what `fl.ecg.filters` gives of a whole recording, a fixed time later: `LeadFilter.delay`.
At its first sample a stream is continued backwards by that sample; `resample` continues a
recording by a straight line, so that the first tenth of a second differs.
"""

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.filters import rate_ratio

Samples = NDArray[np.float64]  # (sample,)

REACH = 10  # samples of the slower rate that `scipy.signal.resample_poly` looks at on each side
BASELINE_SECONDS = (0.2, 0.6)  # of `fl.ecg.filters.remove_baseline`


class Resampler:
    """One lead at another rate by a polyphase filter, as `resample_poly` makes it."""

    def __init__(self, fs: float, to: float) -> None:
        """From `fs` Hz to `to` Hz."""
        ratio = rate_ratio(fs, to)
        self._up, self._down = ratio.numerator, ratio.denominator
        longest = max(self._up, self._down)
        self._half = REACH * longest
        self.delay = self._half / self._up / fs  # s
        taps = np.eye(1, 2 * self._half + 1, self._half)[0]  # at the same rate nothing changes
        if longest > 1:
            taps = scipy.signal.firwin(2 * self._half + 1, 1 / longest, window=("kaiser", 5.0))
        columns = -(-len(taps) // self._up)
        padded = np.zeros(columns * self._up)
        padded[: len(taps)] = taps * self._up
        self._table = padded.reshape(columns, self._up).T.copy()  # (phase, tap), newest first
        self._first = 0.0  # subtracted before filtering, so that an offset does not ring
        self._kept = np.zeros(0)  # the last inputs, less the first one
        self._read, self._made = 0, 0  # inputs and outputs so far

    def push(self, samples: Samples) -> Samples:
        """The outputs that the new inputs complete: (sample,) -> (sample,)."""
        columns = self._table.shape[1]
        if not self._read and len(samples):
            self._first = float(samples[0])
            self._kept = np.zeros(columns)
        self._kept = np.concatenate([self._kept, samples - self._first])
        self._read += len(samples)
        # Output n is complete once input (n * down + half) // up is there.
        complete = (self._read * self._up - 1 - self._half) // self._down + 1
        places = np.arange(self._made, max(complete, self._made)) * self._down + self._half
        self._made += len(places)
        newest = places // self._up - self._read + len(self._kept)
        taken = self._kept[newest[:, None] - np.arange(columns)]
        made = (taken * self._table[places % self._up]).sum(axis=1) + self._first
        oldest_needed = (self._made * self._down + self._half) // self._up - columns + 1
        unused = min(oldest_needed - (self._read - len(self._kept)), len(self._kept))
        self._kept = self._kept[max(unused, 0) :]
        return np.asarray(made)

    def finish(self) -> Samples:
        """The last outputs, the last input being held."""
        if not self._read:
            return np.zeros(0)
        total = -(-self._read * self._up // self._down)
        last = self._kept[-1] + self._first
        wanted = total - self._made
        held = np.full(-(-self._half // self._up) + 2, last)
        return self.push(held)[:wanted]


class RunningMedian:
    """A centred median filter, `half` samples late; the ends are repeated."""

    def __init__(self, size: int) -> None:
        """`size` is odd."""
        self.half = size // 2
        self._kept: NDArray[np.float32] | None = None

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The medians that the new samples complete."""
        if not len(samples):
            return samples
        before = np.full(self.half, samples[0]) if self._kept is None else self._kept
        values = np.concatenate([before, samples])
        self._kept = values[-2 * self.half :]
        if len(values) <= 2 * self.half:
            return values[:0]
        found: NDArray[Any] = scipy.ndimage.median_filter(values, 2 * self.half + 1)
        return np.asarray(found[self.half : len(values) - self.half], dtype=np.float32)

    def finish(self) -> NDArray[np.float32]:
        """The last medians."""
        if self._kept is None:
            return np.zeros(0, dtype=np.float32)
        return self.push(np.full(self.half, self._kept[-1]))


class LeadFilter:
    """One lead at `to` Hz without its baseline, `delay` seconds after it is recorded."""

    def __init__(self, fs: float, to: float) -> None:
        """From `fs` Hz."""
        self._resampler = Resampler(fs, to)
        self._medians = [RunningMedian(int(seconds * to) | 1) for seconds in BASELINE_SECONDS]
        self._waiting = np.zeros(0, dtype=np.float32)  # samples whose baseline is not known yet
        self.delay = self._resampler.delay + sum(m.half for m in self._medians) / to  # s

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples that the new ones complete: (sample,) mV -> (sample,) mV."""
        return self._without_baseline(self._resampler.push(samples.astype(np.float64)))

    def finish(self) -> NDArray[np.float32]:
        """The last samples: altogether as many as `resample` gives."""
        parts = [self._without_baseline(self._resampler.finish())]
        first, second = self._medians
        parts.append(self._less(second.push(first.finish())))
        parts.append(self._less(second.finish()))
        return np.concatenate(parts)

    def _without_baseline(self, samples: Samples) -> NDArray[np.float32]:
        resampled = samples.astype(np.float32)
        self._waiting = np.concatenate([self._waiting, resampled])
        first, second = self._medians
        return self._less(second.push(first.push(resampled)))

    def _less(self, baseline: NDArray[np.float32]) -> NDArray[np.float32]:
        ready, self._waiting = self._waiting[: len(baseline)], self._waiting[len(baseline) :]
        return np.asarray(ready - baseline)
