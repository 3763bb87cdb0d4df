"""Resample, filter, cut and normalise signals. Signals are arrays (lead, sample)."""

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import scipy  # loads its parts only when they are used; workers that only train need none
from numpy.typing import NDArray

Signal = NDArray[np.float32]
LARGEST_DENOMINATOR = 10_000  # of a ratio of rates; with more, a rate is met to 1 in 100,000


def resample(signal: Signal, fs: float, to: float) -> Signal:
    """The same signal at `to` Hz instead of `fs` Hz, by a polyphase filter (no aliasing)."""
    ratio = rate_ratio(fs, to)
    if ratio == 1:
        return signal
    # 'line' subtracts the straight line from first to last sample and adds it back afterwards;
    # without it an offset of several mV would cause ringing at both ends.
    resampled = scipy.signal.resample_poly(
        signal, ratio.numerator, ratio.denominator, axis=-1, padtype="line"
    )
    return np.asarray(resampled, dtype=np.float32)


def rate_ratio(fs: float, to: float) -> Fraction:
    """`to` / `fs` (Hz), whose numerator and denominator set the length of a polyphase filter."""
    ratio = Fraction(to).limit_denominator(1000) / Fraction(fs).limit_denominator(1000)
    # Not larger: at 123456.789 Hz the filter would have 2.5e9 numbers.
    return ratio.limit_denominator(LARGEST_DENOMINATOR)


def bandpass(signal: Signal, fs: float, low: float = 0.5, high: float = 40.0) -> Signal:
    """Third-order Butterworth band-pass, forwards and backwards so that no wave is shifted.

    `low` and `high` are in Hz. A low limit of 0.5 Hz keeps the ST segment; 3 Hz would distort it.
    """
    sos = _butterworth(low, high, fs)
    padding = min(signal.shape[-1] - 1, int(2 * fs))  # 2 s, the time constant of 0.5 Hz
    return np.asarray(
        scipy.signal.sosfiltfilt(sos, signal, axis=-1, padlen=padding), dtype=np.float32
    )


@lru_cache(maxsize=8)  # designing the filter takes longer than filtering a short recording
def _butterworth(low: float, high: float, fs: float) -> NDArray[Any]:
    sos: NDArray[Any] = scipy.signal.butter(3, [low, high], btype="bandpass", fs=fs, output="sos")
    return sos


def remove_baseline(signal: Signal, fs: float) -> Signal:
    """Subtract the baseline found by two median filters, 200 ms then 600 ms.

    The first removes QRS and P, the second T; what is left is the baseline.
    Source: de Chazal et al. 2004, 10.1109/TBME.2004.827359.
    """
    baseline = np.array(signal)
    for lead in range(len(baseline)):  # scipy's median filter is fast only in one dimension
        for seconds in (0.2, 0.6):
            size = int(seconds * fs) | 1  # odd, so that the window is centred
            baseline[lead] = scipy.ndimage.median_filter(baseline[lead], size=size, mode="nearest")
    return np.asarray(signal - baseline, dtype=np.float32)


def zscore(signal: Signal) -> Signal:
    """Each lead with mean 0 and standard deviation 1; a flat lead becomes zero."""
    centred = signal - signal.mean(axis=-1, keepdims=True)
    deviation = centred.std(axis=-1, keepdims=True)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1.0), dtype=np.float32)


def windows_around(signal: Signal, centres: NDArray[np.int64], before: int, after: int) -> Signal:
    """Windows of a signal (lead, sample) around each centre: (centre, lead, before + after).

    `centres`, `before` and `after` are in samples. A window that reaches past an end of the
    signal repeats the end sample.
    """
    positions = centres[:, None] + np.arange(-before, after)
    positions = positions.clip(0, signal.shape[-1] - 1)
    return np.moveaxis(signal[:, positions], 0, 1)
