"""What an electrocardiographer measures on the median beat: QRS width, ST level, P wave, PR.

Definitions are those of the AHA/ACCF/HRS recommendations, simplified: ST level after the J point
against the PR segment (Wagner et al. 2009, 10.1161/CIRCULATIONAHA.108.191098); QRS duration over
all leads together, and the terminal part of QRS in V1, V6 and I for bundle branch blocks (Surawicz
et al. 2009, 10.1161/CIRCULATIONAHA.108.191095); a zero-phase high-pass below 0.67 Hz, which keeps
the ST level (Kligfield et al. 2007, 10.1161/CIRCULATIONAHA.106.180200).
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.filters import Signal, windows_around
from fl.ecg.qrs_detection import Peaks
from fl.ecg.rhythm.r_peaks import main_lead

FEWEST_BEATS = 3
BEFORE, AFTER = 0.45, 0.35  # s of a beat around its R peak
ALIKE = 0.8  # correlation of a beat's QRS with the median's, at least: others are left out
QRS_REACH = 0.06  # s to each side of R, by which beats are compared
QRS_LIMITS = 0.16, 0.22  # s before and after R in which QRS begins and ends
SLOPE = 0.05  # of the steepest slope of QRS: less, for `QUIET` s, is outside QRS
QUIET = 0.016
BASELINE = 0.030, 0.010  # s before QRS, in which the PR segment is read
ST = 0.060, 0.080  # s after the J point
TERMINAL = 0.040  # s, the last part of QRS
TERMINAL_LEADS = ("I", "V1", "V6")
P_WINDOW = 0.36, 0.016  # s before QRS in which a P wave is looked for, if the T wave has ended
QT = 0.42  # s, at an interval of 1 s, and with the square root of the interval at others
P_LOWEST = 0.02  # height of a P wave, as a share of that of QRS
P_EDGE = 0.2  # of a P wave's height: where it begins


@dataclass(frozen=True, kw_only=True)
class MedianBeat:
    """The median of the beats that are alike, and where its QRS begins and ends."""

    beats: NDArray[np.float32]  # (beat, lead, sample) mV, those that are alike
    wave: NDArray[np.float32]  # (lead, sample) mV against the PR segment
    fs: float  # Hz
    onset: int  # sample
    offset: int  # sample, the J point
    interval: float  # s, the median RR interval

    def of(self, begin: float, end: float) -> slice:
        """The samples between two moments, in s after QRS begins; at least one."""
        first = max(0, self.onset + round(begin * self.fs))
        return slice(first, max(first + 1, self.onset + round(end * self.fs)))


def median_beat(
    signal: Signal, leads: tuple[str, ...], fs: float, peaks: Peaks
) -> MedianBeat | None:
    """The median beat of a recording (lead, sample) without baseline wander; None if it has none.

    `peaks` (beat,) are in samples. It needs three whole beats whose QRS is alike in `main_lead`.
    """
    before, after = round(BEFORE * fs), round(AFTER * fs)
    whole = peaks[(peaks >= before) & (peaks <= signal.shape[1] - after)]
    if len(whole) < FEWEST_BEATS:
        return None
    beats = windows_around(signal, whole, before, after)
    reach = round(QRS_REACH * fs)
    qrs = beats[:, main_lead(leads), before - reach : before + reach + 1]
    alike = _correlation(qrs, np.median(qrs, axis=0)) >= ALIKE
    if alike.sum() < FEWEST_BEATS:
        return None
    wave = np.median(beats[alike], axis=0)
    onset, offset = qrs_limits(wave, fs, before)
    first, last = (max(0, onset - round(s * fs)) for s in BASELINE)
    level = wave[:, first : last + 1].mean(axis=1, keepdims=True)
    return MedianBeat(
        beats=beats[alike],
        wave=wave - level,
        fs=fs,
        onset=onset,
        offset=offset,
        interval=float(np.median(np.diff(peaks)) / fs),
    )


def qrs_limits(wave: NDArray[np.float32], fs: float, r: int) -> tuple[int, int]:
    """Where QRS begins and ends in all leads together: (lead, sample), R's sample -> samples.

    The slope is that of the vector of all leads, so that QRS begins in the lead where it begins
    first and ends where it ends last.
    """
    slope = np.sqrt((np.diff(wave, axis=1) ** 2).sum(axis=0))
    earliest, latest = (round(s * fs) for s in QRS_LIMITS)
    first, last = max(0, r - earliest), min(len(slope), r + latest)
    steep = slope[first:last] >= SLOPE * slope[first:last].max()
    quiet = round(QUIET * fs)
    # A gap shorter than `quiet` is the turning point of a wave inside QRS.
    joined = scipy.ndimage.binary_closing(np.pad(steep, quiet), np.ones(quiet))[quiet:-quiet]
    parts, _ = scipy.ndimage.label(joined)
    steepest = int(slope[first:last].argmax())
    inside = np.flatnonzero(parts == parts[steepest])
    return first + int(inside[0]), first + int(inside[-1]) + 1


def wave_measures(beat: MedianBeat, leads: tuple[str, ...], millivolts: bool) -> dict[str, float]:
    """What is measured on the median beat; what cannot be known is left out.

    `QRS width` and `PR interval` are in ms, `ST <lead>` in mV, where the unit is known
    (`millivolts`). The others are shares of the lead's QRS from its lowest to its highest point:
    `ST share <lead>`, the ST level; `terminal <lead>`, the mean of the last 40 ms of QRS; `r' V1`,
    the highest point of its second half; `area <lead>`, the mean over QRS; `P height`. `P alike` is
    the mean correlation of the beats' P waves with the median P wave.
    """
    qrs = beat.wave[:, beat.onset : beat.offset + 1]
    height = np.ptp(qrs, axis=1) + 1e-6
    found = {"QRS width": 1000 * (beat.offset - beat.onset) / beat.fs}
    width = (beat.offset - beat.onset) / beat.fs
    level = beat.wave[:, beat.of(width + ST[0], width + ST[1])].mean(axis=1)
    for lead, value, share in zip(leads, level, level / height, strict=True):
        found[f"ST share {lead}"] = float(share)
        if millivolts:
            found[f"ST {lead}"] = float(value)
    last = qrs[:, -max(1, round(TERMINAL * beat.fs)) :].mean(axis=1) / height
    area = qrs.mean(axis=1) / height
    second_half = qrs[:, qrs.shape[1] // 2 :].max(axis=1) / height
    for row, name in enumerate(leads):
        if name in TERMINAL_LEADS:
            found[f"terminal {name}"] = float(last[row])
            found[f"area {name}"] = float(area[row])
        if name == "V1":
            found["r' V1"] = float(second_half[row])
    return found | _p_measures(beat, main_lead(leads), float(height[main_lead(leads)]))


def _p_measures(beat: MedianBeat, lead: int, height: float) -> dict[str, float]:
    """`PR interval` (ms), `P height` and `P alike`; {} where no P wave is found."""
    free = beat.interval - QT * np.sqrt(beat.interval)  # from the end of T to the next QRS
    window = beat.of(-min(P_WINDOW[0], max(free, 0.08)), -P_WINDOW[1])
    p = beat.wave[lead, window]
    # T, or the baseline, may still fall: the line from the window's first sample to its last.
    p = p - np.linspace(p[0], p[-1], len(p))
    peak = int(np.abs(p).argmax())
    if len(p) < 8 or abs(p[peak]) < P_LOWEST * height:
        return {}
    before = np.flatnonzero(np.abs(p[:peak]) < P_EDGE * abs(p[peak]))
    begins = window.start + (int(before[-1]) + 1 if len(before) else 0)
    alike = _correlation(beat.beats[:, lead, window], np.asarray(beat.wave[lead, window]))
    return {
        "PR interval": 1000 * (beat.onset - begins) / beat.fs,
        "P height": float(p[peak] / height),
        "P alike": float(alike.mean()),
    }


def _correlation(rows: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pearson's correlation of each row with the other: (row, sample), (sample,) -> (row,)."""
    a = rows - rows.mean(axis=1, keepdims=True)
    b = other - other.mean()
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum() + 1e-12)
    return np.asarray((a * b).sum(axis=1) / scale)
