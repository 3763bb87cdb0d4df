"""What a cardiologist measures with a ruler, measured on the waveform around known R peaks."""

from dataclasses import dataclass

import numpy as np

from fl.ecg.records import Record

BEFORE, AFTER = 0.55, 0.40  # s either side of the R peak


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """A median beat, its baseline just before the QRS at zero."""

    record: Record
    beat: np.ndarray  # (lead, sample) mV
    onset: int  # sample of the beat where the QRS starts
    end: int  # sample of the beat where it ends

    @property
    def qrs(self) -> float:
        return (self.end - self.onset) / self.record.fs

    def lead(self, name: str) -> np.ndarray:
        return self.beat[self.record.leads.index(name)]

    def st(self, name: str) -> float:
        """mV, 60 ms after the J point."""
        return float(self.lead(name)[self.end + round(0.06 * self.record.fs)])

    def t(self, name: str) -> float:
        """mV, the furthest point of the T wave."""
        wave = self.lead(name)[self.end + round(0.10 * self.record.fs) :]
        return float(wave[np.argmax(np.abs(wave))])

    def qrs_of(self, name: str) -> np.ndarray:
        return self.lead(name)[self.onset : self.end]

    def late(self, name: str) -> np.ndarray:
        """The second half of the QRS."""
        return self.lead(name)[(self.onset + self.end) // 2 : self.end]

    def p_wave(self) -> tuple[float, float]:
        """Height of the P wave (mV, mean of the leads) and the PR interval (s)."""
        fs, cycle = self.record.fs, np.median(rr(self.record))
        reach = np.clip(cycle - 0.43 * np.sqrt(cycle), 0.2, 0.38)  # to the end of the T wave
        seen = self.beat[:, self.onset - round(reach * fs) : self.onset - round(0.02 * fs)]
        speed = np.gradient(seen, axis=1)
        bend = np.abs(np.gradient(speed, axis=1)).mean(axis=0)
        top = int(np.argmax(bend))
        height = np.abs(seen[:, top]).mean()
        rise = np.abs(speed).mean(axis=0)[: top + 1]
        steep = _back_to_hill(rise)
        still = np.flatnonzero(rise[:steep] < 0.12 * rise[steep])
        return float(height), (seen.shape[1] - (still[-1] if len(still) else 0)) / fs + 0.02


def _back_to_hill(rise: np.ndarray) -> int:
    """The steepest sample of the last 60 ms."""
    near = rise[-30:]
    return len(rise) - len(near) + int(np.argmax(near))


def _within(fast: np.ndarray, peak: int, gap: int) -> tuple[int, int]:
    """First and last of the samples around the peak that lie less than `gap` apart."""
    breaks = np.flatnonzero(np.diff(fast) > gap)
    first = max([fast[i + 1] for i in breaks if fast[i + 1] <= peak], default=fast[0])
    last = min([fast[i] for i in breaks if fast[i] >= peak], default=fast[-1])
    return int(first), int(last)


def peaks(record: Record, symbols: str) -> np.ndarray:
    """Samples of the annotated beats of these kinds."""
    notes = record.annotations
    assert notes is not None
    return np.array(
        [at for at, s in zip(notes.samples, notes.symbols, strict=True) if s in symbols], dtype=int
    )


def rr(record: Record) -> np.ndarray:
    """Every RR interval in s."""
    return np.diff(peaks(record, "NLRAVF")) / record.fs


def ruler(record: Record, symbols: str = "NLR") -> Ruler:
    """Lay the ruler on the median beat of these kinds."""
    before, after = round(BEFORE * record.fs), round(AFTER * record.fs)
    signal = record.signal.astype(float)
    inside = [p for p in peaks(record, symbols) if before <= p < signal.shape[1] - after]
    beat = np.median([signal[:, p - before : p + after] for p in inside], axis=0)
    speed = np.abs(np.gradient(beat, axis=1)).mean(axis=0) * record.fs  # mV/s
    near = slice(before - round(0.12 * record.fs), before + round(0.16 * record.fs))
    fast = np.flatnonzero(speed[near] > 0.08 * speed[near].max()) + near.start
    onset, end = _within(fast, before, gap=round(0.03 * record.fs))
    level = beat[:, onset - round(0.012 * record.fs), None]
    return Ruler(record=record, beat=beat - level, onset=onset, end=end)


def measurable(record: Record, symbols: str) -> bool:
    """Whether a beat of these kinds lies whole inside the recording."""
    fs, n = record.fs, record.signal.shape[1]
    return any(BEFORE * fs <= p < n - AFTER * fs for p in peaks(record, symbols))


def around(record: Record, symbol: str) -> list[tuple[float, float]]:
    """Interval before each beat of a kind, and before plus after, in usual intervals."""
    every, kind = peaks(record, "NLRAVF"), set(peaks(record, symbol))
    usual = np.median(np.diff(every))
    return [
        ((at - last) / usual, (after - last) / usual)
        for last, at, after in zip(every, every[1:], every[2:], strict=False)
        if at in kind
    ]


def strongest_rate(record: Record, lead: str) -> float:
    """Hz of the strongest oscillation between the T wave and the next QRS."""
    signal = record.signal[record.leads.index(lead)].astype(float)
    keep = np.ones(len(signal), dtype=bool)
    for peak in peaks(record, "NLRAVF"):
        keep[max(0, peak - round(0.08 * record.fs)) : peak + round(0.38 * record.fs)] = False
    quiet = np.where(keep, signal - signal[keep].mean(), 0)
    power = np.abs(np.fft.rfft(quiet, 8 * len(quiet))) ** 2
    rate = np.fft.rfftfreq(8 * len(quiet), 1 / record.fs)
    band = (rate > 3) & (rate < 15)
    return float(rate[band][np.argmax(power[band])])
