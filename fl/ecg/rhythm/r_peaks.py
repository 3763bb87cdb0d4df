"""R peaks of a short recording, from all of its leads together."""

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.filters import Signal, bandpass
from fl.ecg.qrs_detection import (
    ENERGY_SECONDS,
    LOWEST,
    QRS_BAND,
    REFRACTORY,
    USUAL_SECONDS,
    Peaks,
    at_largest_deflection,
)

PREFERRED = ("II", "I", "V5", "V2", "V1")  # leads in which beats are compared, best first


def main_lead(leads: tuple[str, ...]) -> int:
    """The position of the lead in which beats are compared: II, else I, else the best there is."""
    present = [leads.index(name) for name in PREFERRED if name in leads]
    return present[0] if present else 0


def r_peaks(signal: Signal, leads: tuple[str, ...], fs: float) -> Peaks:
    """R peaks of a recording (lead, sample) that has no baseline wander: (beat,) samples.

    As `fl.ecg.qrs_detection.find_r_peaks`: where the power between 5 and 20 Hz is at least a fifth
    of that of a usual beat. Here it is the mean of all leads, each relative to its own usual beat:
    a tall T wave in one lead is then no beat. A peak is moved to the largest deflection of
    `main_lead` within 50 ms.
    """
    qrs = bandpass(signal, fs, *QRS_BAND)
    energy = scipy.ndimage.uniform_filter1d(qrs**2, round(ENERGY_SECONDS * fs), axis=-1)
    usual = _usual_height(energy, fs)
    beating = usual > 0
    if not beating.any():
        return np.zeros(0, dtype=np.int64)
    mean = (energy[beating] / usual[beating, None]).mean(axis=0)
    lowest = LOWEST * float(_usual_height(mean[None], fs)[0])
    found, _ = scipy.signal.find_peaks(mean, distance=round(REFRACTORY * fs), height=lowest)
    return at_largest_deflection(found, signal[main_lead(leads)], fs)


def _usual_height(energy: NDArray[np.float32], fs: float) -> NDArray[np.float32]:
    """The median over parts of a few seconds of their largest value: (lead, sample) -> (lead,)."""
    parts = np.array_split(energy, max(1, round(energy.shape[1] / (USUAL_SECONDS * fs))), axis=1)
    highest = np.stack([part.max(axis=1) for part in parts], axis=1)
    return np.asarray(np.quantile(highest, 0.5, axis=1, method="lower"))
