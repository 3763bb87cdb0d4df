"""Whether heartbeats stand out of a signal and look alike, without any annotation.

Two measures of signal quality decide. Likeness: the QRS complexes of a lead correlate with each
other (Orphanidou et al. 2015, 10.1109/JBHI.2014.2338351). Prominence: their power between 5 and
20 Hz stands out of the rest of the lead (a relative of pSQI and kSQI: Li et al. 2008,
10.1088/0967-3334/29/1/002; Clifford et al. 2012, 10.1088/0967-3334/33/9/1419). Neither depends on
the unit, so a lead that is scaled to its own peak is judged like one in mV.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.filters import Signal, bandpass, resample

Peaks = NDArray[np.int64]  # (beat,) sample numbers

WORK_FS = 100.0  # Hz; a QRS complex has little power above 40 Hz
QRS_BAND = (5.0, 20.0)  # Hz, most of a QRS complex and little of T wave, baseline and muscle
ENERGY_SECONDS = 0.1  # the energy is averaged over about the width of a QRS complex
REFRACTORY = 0.16  # s between two beats at least, so that rates above 300 per minute are seen
USUAL_SECONDS = 3.0  # holds a beat even at 20 per minute
LOWEST_BEAT = 0.3  # of the usual tallest energy; half the amplitude of the tallest beats
HALF_QRS = 0.12  # s before and after the middle of a beat that are compared
KIN = 0.3  # share of the other beats that a beat must resemble
MOST_BEATS = 200  # that are compared, evenly chosen; the time grows with their square
MAX_SHIFT = 0.05  # s by which a lead's own peak may differ from that of all leads


@dataclass(frozen=True, kw_only=True)
class BeatLikeness:
    """The heartbeats that were found, and how each lead shows them."""

    beats: Peaks  # (beat,) samples at WORK_FS
    likeness: NDArray[np.float64]  # (lead,) correlation of beats of one shape, median over beats
    prominence: NDArray[np.float64]  # (lead,) energy of a beat over the lead's median energy

    @property
    def rate(self) -> float:
        """Heartbeats per minute; 0 with fewer than two."""
        if len(self.beats) < 2:
            return 0.0
        return float(60 * WORK_FS * (len(self.beats) - 1) / (self.beats[-1] - self.beats[0]))


def beat_likeness(signal: Signal, fs: float) -> BeatLikeness:
    """Heartbeats of a signal (lead, sample), found in all leads together."""
    (found,) = beat_likeness_of_several(signal[None], fs)
    return found


def beat_likeness_of_several(signals: Signal, fs: float) -> list[BeatLikeness]:
    """Heartbeats of each of several recordings (recording, lead, sample).

    Many recordings are filtered in one call: of a short one, most of the time would go to the call.
    """
    filtered = bandpass(resample(signals, fs, WORK_FS), WORK_FS)
    qrs = bandpass(filtered, WORK_FS, *QRS_BAND)
    spread = qrs.std(axis=-1, keepdims=True)
    # Each lead counts the same.
    qrs = (qrs / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    energy = scipy.ndimage.uniform_filter1d(qrs**2, round(ENERGY_SECONDS * WORK_FS), axis=-1)
    return [_found(*parts) for parts in zip(filtered, qrs, energy, strict=True)]


def _found(filtered: Signal, qrs: Signal, energy: Signal) -> BeatLikeness:
    """The heartbeats of one recording, from its filtered leads and their energy."""
    beats = _energy_peaks(energy.mean(axis=0))
    return BeatLikeness(
        beats=beats,
        likeness=np.array(
            [_likeness(lead, _own_peaks(q, beats)) for lead, q in zip(filtered, qrs, strict=True)]
        ),
        prominence=np.median(energy[:, beats], axis=1) / (np.median(energy, axis=1) + 1e-9)
        if len(beats)
        else np.zeros(len(filtered)),
    )


def _energy_peaks(energy: NDArray[np.float32]) -> Peaks:
    """The peaks that reach a share of the tallest energy that is usual within some seconds."""
    parts = np.array_split(energy, max(1, round(len(energy) / (USUAL_SECONDS * WORK_FS))))
    # Of an even number of parts the lower middle one, so that one artefact in two sets no limit.
    usual = float(np.quantile([part.max() for part in parts], 0.5, method="lower"))
    peaks, _ = scipy.signal.find_peaks(
        energy, distance=round(REFRACTORY * WORK_FS), height=LOWEST_BEAT * usual
    )
    return np.asarray(peaks, dtype=np.int64)


def _own_peaks(qrs: Signal, beats: Peaks) -> Peaks:
    """Each beat's largest deflection in one lead: (beat,) -> (beat,)."""
    reach = round(MAX_SHIFT * WORK_FS)
    nearby = (beats[:, None] + np.arange(-reach, reach + 1)).clip(0, len(qrs) - 1)
    largest = np.abs(qrs[nearby]).argmax(axis=1)
    return np.asarray(nearby[np.arange(len(beats)), largest], dtype=np.int64)


def _likeness(lead: Signal, peaks: Peaks) -> float:
    """The median over beats of the correlation that KIN of the other beats exceed.

    Beats of two shapes in turn, as in bigeminy, each find their like. 0 with fewer than two beats.
    """
    half = round(HALF_QRS * WORK_FS)
    whole = peaks[(peaks >= half) & (peaks < len(lead) - half)]
    if len(whole) < 2:
        return 0.0
    whole = whole[:: math.ceil(len(whole) / MOST_BEATS)]
    shapes = lead[whole[:, None] + np.arange(-half, half + 1)].astype(np.float64)
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True) + 1e-9
    pairs = shapes @ shapes.T
    np.fill_diagonal(pairs, -1.0)  # a beat is not compared with itself
    kin = math.ceil(KIN * (len(whole) - 1))
    return float(np.median(np.partition(pairs, -kin, axis=1)[:, -kin]))
