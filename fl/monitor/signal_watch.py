"""Whether the signal can be monitored: missing samples, a flat lead, and noise."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from fl.ecg.acceptability import SENTENCES, assess_as_sampled

LARGEST = 1000.0  # mV; a number beyond is no ECG, and counts as missing
WINDOW_SECONDS, EVERY_SECONDS = 10.0, 5.0
# Reasons of `fl.ecg.acceptability` for which beats are not believed; "flat", "slow" and "fast" are
# alarms of their own.
NOISE = ("noise", "saturated", "mains", "tone", "no-beats", "no-signal", "rate")


class Filled:
    """Leads without missing samples: each is replaced by the one before it."""

    def __init__(self, leads: int) -> None:
        """Before the first sample, a lead is 0."""
        self._last = np.zeros(leads, dtype=np.float32)
        self.missing = 0  # samples, over all leads

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(lead, sample) mV, with nan where a sample is missing -> the same without."""
        good = np.isfinite(samples) & (np.abs(samples) <= LARGEST)
        if not good.all():
            self.missing += int((~good).sum())
            samples = samples.copy()
            for lead, present in enumerate(good):
                newest = np.where(present, np.arange(len(present)), -1)
                np.maximum.accumulate(newest, out=newest)
                held = samples[lead][np.maximum(newest, 0)]
                samples[lead] = np.where(newest >= 0, held, self._last[lead])
        if samples.shape[1]:
            self._last = samples[:, -1].copy()
        return samples


class FlatRun:
    """For how long one lead has stayed at one value."""

    def __init__(self) -> None:
        """Before the first sample."""
        self._last = np.float32(np.nan)
        self.samples = 0  # in a row, up to now

    def push(self, samples: NDArray[np.float32]) -> None:
        """The next samples (sample,)."""
        if not len(samples):
            return
        changes = np.flatnonzero(samples != np.concatenate([[self._last], samples[:-1]]))
        if len(changes):
            self.samples = len(samples) - int(changes[-1])
        else:
            self.samples += len(samples)
        self._last = samples[-1]


class SignalQuality:
    """Whether heartbeats can be seen in the last ten seconds of one lead, asked every five."""

    def __init__(self, lead: str, fs: float) -> None:
        """`fs` in Hz."""
        self._lead, self._fs = lead, fs
        self._parts: deque[NDArray[np.float32]] = deque()
        self._kept, self._read, self._asked = 0, 0, 0
        self.reason = ""  # a name of SENTENCES; "" while the beats can be seen

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return SENTENCES[self.reason] if self.reason else ""

    def push(self, samples: NDArray[np.float32]) -> None:
        """The next samples (sample,) mV, without gaps."""
        window = round(WINDOW_SECONDS * self._fs)
        self._parts.append(samples)
        self._kept += len(samples)
        self._read += len(samples)
        while self._kept - len(self._parts[0]) >= window:
            self._kept -= len(self._parts.popleft())
        if self._kept >= window and self._read - self._asked >= EVERY_SECONDS * self._fs:
            self._asked = self._read
            last = np.concatenate(self._parts)[None, -window:]
            (quality,) = assess_as_sampled(last, (self._lead,), self._fs).leads
            self.reason = quality.reason if quality.reason in NOISE else ""
