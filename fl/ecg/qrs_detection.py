"""Finds heartbeats without annotations, and matches them with annotated ones."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.filters import bandpass, resample
from fl.util.imports.fast_import import import_quietly

Peaks = NDArray[np.int64]  # (beat,) sample numbers

# Errors of a detector, for training: see `detector_errors`.
JITTER_SECONDS = 0.005  # standard deviation of where it puts an R peak
MISSED, DOUBLED = 0.005, 0.005  # shares of beats
LATER_SECONDS = 0.2, 0.4  # a doubled beat's second peak, usually its T wave

# Of `find_r_peaks`, chosen on DS1.
ENERGY_FS = 125.0  # Hz
QRS_BAND = (5.0, 20.0)  # Hz, most of a QRS complex and little of the T wave
ENERGY_SECONDS = 0.1  # about the width of a QRS complex
REFRACTORY = 0.25  # s between two beats, at least
USUAL_SECONDS = 3.0  # holds a beat even at 20 per minute
LOWEST = 0.2  # of the energy of a usual beat

# Which detector finds the beats of a recording that nobody annotated, by how long it is: chosen on
# DS1 (docs/results.md, made by benchmarks/studies/beat_detectors.py).
SHORT_DETECTOR, LONG_DETECTOR = "energy", "gqrs"
SHORT_SECONDS = 60.0

MATCH_SECONDS = 0.15  # ANSI/AAMI EC57: a detection this near to an annotated beat has found it


def _xqrs(signal: NDArray[np.floating[Any]], fs: float) -> Peaks:
    detector = import_quietly("wfdb.processing").XQRS(sig=signal, fs=fs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb warns about its own arithmetic
        detector.detect(verbose=False)
    return np.asarray(detector.qrs_inds, dtype=np.int64)


def _gqrs(signal: NDArray[np.floating[Any]], fs: float) -> Peaks:
    detect = import_quietly("wfdb.processing").gqrs_detect
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(detect(sig=signal, fs=fs), dtype=np.int64)


def _energy(signal: NDArray[np.floating[Any]], fs: float) -> Peaks:
    lead = resample(np.asarray(signal, np.float32)[None], fs, ENERGY_FS)
    found = find_r_peaks(bandpass(lead, ENERGY_FS)[0])
    return np.asarray(np.rint(found * (fs / ENERGY_FS)).astype(np.int64).clip(0, len(signal) - 1))


def find_r_peaks(lead: NDArray[np.float32]) -> Peaks:
    """R peaks of a lead at 125 Hz without baseline wander: (sample,) -> (beat,) samples.

    They are where the power between 5 and 20 Hz is at least a fifth of that of a usual beat, moved
    to the largest deflection within 50 ms. What is usual is the median of the whole lead: nothing
    is learnt from its beginning.
    """
    qrs = bandpass(lead[None], ENERGY_FS, *QRS_BAND)[0]
    energy = scipy.ndimage.uniform_filter1d(qrs**2, round(ENERGY_SECONDS * ENERGY_FS))
    parts = np.array_split(energy, max(1, round(len(energy) / (USUAL_SECONDS * ENERGY_FS))))
    usual = float(np.quantile([part.max() for part in parts], 0.5, method="lower"))
    found, _ = scipy.signal.find_peaks(
        energy, distance=round(REFRACTORY * ENERGY_FS), height=LOWEST * usual
    )
    return at_largest_deflection(found, lead, ENERGY_FS)


DETECTORS: dict[str, Callable[[NDArray[np.floating[Any]], float], Peaks]] = {
    "xqrs": _xqrs,
    "gqrs": _gqrs,
    "energy": _energy,
}


def usual_detector(seconds: float) -> str:
    """The detector for a recording of so many seconds that nobody annotated and no flag names."""
    return SHORT_DETECTOR if seconds < SHORT_SECONDS else LONG_DETECTOR


def detect_beats(name: str, signal: NDArray[np.floating[Any]], fs: float) -> Peaks:
    """R peaks of one lead, found by a detector of DETECTORS: (sample,) mV -> (beat,) samples.

    A detector marks some point of the QRS complex and annotations its peak, so each detection is
    moved to the largest deflection within 50 ms.
    """
    return at_largest_deflection(DETECTORS[name](np.asarray(signal, np.float64), fs), signal, fs)


def at_largest_deflection(detections: Peaks, signal: NDArray[np.floating[Any]], fs: float) -> Peaks:
    """Each detection moved to the largest deflection within 50 ms: (found,) -> (beat,) samples."""
    reach = round(0.05 * fs)
    nearby = (detections[:, None] + np.arange(-reach, reach + 1)).clip(0, len(signal) - 1)
    values = signal[nearby]
    height = np.abs(values - np.median(values, axis=1, keepdims=True))
    return np.unique(nearby[np.arange(len(nearby)), height.argmax(axis=1)]).astype(np.int64)


def detector_errors(
    peaks: Peaks, fs: float, rng: np.random.Generator
) -> tuple[Peaks, NDArray[np.int64]]:
    """R peaks as a detector might find them: (found,) samples, and the beat of each or -1.

    Each peak is moved a little, 0.5% of the beats are missed and 0.5% found twice. Examples made of
    such peaks prepare a network for recordings that nobody annotated.
    """
    n = len(peaks)
    moved = peaks + np.rint(rng.normal(0, JITTER_SECONDS * fs, n)).astype(np.int64)
    kept = rng.random(n) >= MISSED
    doubled = rng.random(n) < DOUBLED
    second = np.rint(rng.uniform(*LATER_SECONDS, n) * fs).astype(np.int64)
    samples = np.concatenate([moved[kept], (moved + second)[doubled]])
    beat = np.concatenate([np.flatnonzero(kept), np.full(doubled.sum(), -1)])
    inside = (samples >= 0) & (samples <= peaks[-1])
    found, first = np.unique(samples[inside], return_index=True)
    return found, beat[inside][first]


def match_beats(annotated: Peaks, detected: Peaks, fs: float) -> tuple[Peaks, Peaks]:
    """Pairs of an annotated and a detected beat: (pair,) indices into each of the two.

    The nearest pairs are matched first, each beat once, and none further apart than 150 ms.
    """
    reach = MATCH_SECONDS * fs
    first = np.searchsorted(detected, annotated - reach, side="left")
    last = np.searchsorted(detected, annotated + reach, side="right")
    candidates = sorted(
        (abs(int(detected[j]) - int(annotated[i])), i, j)
        for i in range(len(annotated))
        for j in range(first[i], last[i])
    )
    matched_annotated: set[int] = set()
    matched_detected: set[int] = set()
    pairs = []
    for _, i, j in candidates:
        if i not in matched_annotated and j not in matched_detected:
            matched_annotated.add(i)
            matched_detected.add(j)
            pairs.append((i, j))
    table = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
