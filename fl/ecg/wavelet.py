"""Wavelet denoising: another way than a band-pass to remove noise and baseline wander."""

import math
from importlib.util import find_spec

import numpy as np

from fl.ecg.filters import Signal
from fl.util.errors import ConfigError

WAVELET = "sym8"  # symmetrical enough that it moves no wave, and shaped like a QRS
SLOWEST = 0.5  # Hz; what the levels leave below it is the baseline


def check_wavelets() -> None:
    """`ConfigError` if PyWavelets is not installed."""
    if find_spec("pywt") is None:
        raise ConfigError(
            "--filter is 'wavelet', which needs PyWavelets. Install it: "
            "pip install 'heartfed[wavelet]'"
        )


def wavelet_denoised(signal: Signal, fs: float) -> Signal:
    """The signal without baseline wander and noise: (..., lead, sample) -> the same.

    It is divided into octaves. The lowest, which ends between 0.25 and 0.5 Hz, is the baseline and
    is left out. In the others every coefficient is drawn towards zero by sqrt(2 ln n) times the
    noise's standard deviation, which is the median of the highest octave's magnitudes over .6745,
    for each lead by itself. Source: Donoho 1995, 10.1109/18.382009. Before, both ends are mirrored
    for as long as the longest wavelet. Raises ConfigError if PyWavelets is not installed.
    """
    check_wavelets()
    import pywt  # loads slowly, and only this filter needs it

    levels = math.ceil(math.log2(fs / SLOWEST)) - 1
    n = signal.shape[-1]
    longest = (pywt.Wavelet(WAVELET).dec_len - 1) * 2**levels
    edge = longest // 2
    padded = np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(edge, edge)], mode="symmetric")
    baseline, *octaves = pywt.wavedec(padded, WAVELET, level=levels, axis=-1)
    deviation = np.median(np.abs(octaves[-1]), axis=-1, keepdims=True) / 0.6745
    threshold = deviation * math.sqrt(2 * math.log(padded.shape[-1]))
    shrunk = [np.sign(c) * np.maximum(np.abs(c) - threshold, 0) for c in octaves]
    denoised = pywt.waverec([np.zeros_like(baseline), *shrunk], WAVELET, axis=-1)
    return np.asarray(denoised[..., edge : edge + n], dtype=np.float32)
