"""Measures around known R peaks what a cardiologist would measure with a ruler."""

from dataclasses import dataclass

import numpy as np

from fl.ecg.records import Record

BEFORE, AFTER = 0.55, 0.40  # s either side of the R peak


@dataclass(frozen=True, kw_only=True)
class MeasuredBeat:
    """A median beat whose level just before the QRS is zero, and where its QRS is."""

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
        reach = np.clip(cycle - 0.43 * np.sqrt(cycle), 0.2, 0.38)  # s, back to the last T wave
        before = self.beat[:, self.onset - round(reach * fs) : self.onset - round(0.02 * fs)]
        slope = np.gradient(before, axis=1)
        curvature = np.abs(np.gradient(slope, axis=1)).mean(axis=0)
        top = int(np.argmax(curvature))
        height = np.abs(before[:, top]).mean()
        steepness = np.abs(slope).mean(axis=0)[: top + 1]
        steepest = _steepest(steepness)
        flat = np.flatnonzero(steepness[:steepest] < 0.12 * steepness[steepest])
        return float(height), (before.shape[1] - (flat[-1] if len(flat) else 0)) / fs + 0.02


def _steepest(steepness: np.ndarray) -> int:
    """The steepest sample of the last 60 ms."""
    last = steepness[-30:]
    return len(steepness) - len(last) + int(np.argmax(last))


def _run_around(samples: np.ndarray, peak: int, gap: int) -> tuple[int, int]:
    """First and last of the samples around the peak that are at most `gap` apart."""
    breaks = np.flatnonzero(np.diff(samples) > gap)
    first = max([samples[i + 1] for i in breaks if samples[i + 1] <= peak], default=samples[0])
    last = min([samples[i] for i in breaks if samples[i] >= peak], default=samples[-1])
    return int(first), int(last)


def peaks(record: Record, symbols: str) -> np.ndarray:
    """Samples of the annotated beats of these kinds."""
    notes = record.annotations
    assert notes is not None
    return np.array(
        [n for n, s in zip(notes.samples, notes.symbols, strict=True) if s in symbols], dtype=int
    )


def rr(record: Record) -> np.ndarray:
    """Every RR interval in s."""
    return np.diff(peaks(record, "NLRAVF")) / record.fs


def measure(record: Record, symbols: str = "NLR") -> MeasuredBeat:
    """Measure the median beat of these kinds."""
    before, after = round(BEFORE * record.fs), round(AFTER * record.fs)
    signal = record.signal.astype(float)
    inside = [p for p in peaks(record, symbols) if before <= p < signal.shape[1] - after]
    beat = np.median([signal[:, p - before : p + after] for p in inside], axis=0)
    slope = np.abs(np.gradient(beat, axis=1)).mean(axis=0) * record.fs  # mV/s
    near_peak = slice(before - round(0.12 * record.fs), before + round(0.16 * record.fs))
    steep = np.flatnonzero(slope[near_peak] > 0.08 * slope[near_peak].max()) + near_peak.start
    onset, end = _run_around(steep, before, gap=round(0.03 * record.fs))
    level = beat[:, onset - round(0.012 * record.fs), None]
    return MeasuredBeat(record=record, beat=beat - level, onset=onset, end=end)


def measurable(record: Record, symbols: str) -> bool:
    """Whether a beat of these kinds lies completely inside the recording."""
    fs, n = record.fs, record.signal.shape[1]
    return any(BEFORE * fs <= p < n - AFTER * fs for p in peaks(record, symbols))


def around(record: Record, symbol: str) -> list[tuple[float, float]]:
    """Interval before each beat of a kind, and before plus after, in median intervals."""
    beats, of_kind = peaks(record, "NLRAVF"), set(peaks(record, symbol))
    median = np.median(np.diff(beats))
    return [
        ((beat - before) / median, (after - before) / median)
        for before, beat, after in zip(beats, beats[1:], beats[2:], strict=False)
        if beat in of_kind
    ]


def strongest_rate(record: Record, lead: str) -> float:
    """Hz of the strongest oscillation between the T wave and the next QRS."""
    signal = record.signal[record.leads.index(lead)].astype(float)
    keep = np.ones(len(signal), dtype=bool)
    for peak in peaks(record, "NLRAVF"):
        keep[max(0, peak - round(0.08 * record.fs)) : peak + round(0.38 * record.fs)] = False
    between_beats = np.where(keep, signal - signal[keep].mean(), 0)
    power = np.abs(np.fft.rfft(between_beats, 8 * len(between_beats))) ** 2
    rate = np.fft.rfftfreq(8 * len(between_beats), 1 / record.fs)
    band = (rate > 3) & (rate < 15)
    return float(rate[band][np.argmax(power[band])])
