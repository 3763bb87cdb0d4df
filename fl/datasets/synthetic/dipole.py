"""The electrical dipole of a simulated heart over one recording."""

import numpy as np
from numpy.typing import NDArray

from fl.datasets.synthetic.heart import Array, Heart, Wave
from fl.datasets.synthetic.rhythm import Beats


def dipole(heart: Heart, beats: Beats, n: int, fs: float, rng: np.random.Generator) -> Array:
    """The heart's dipole over `n` samples at `fs` Hz: (axis, sample) mV."""
    breath = 1 + rng.uniform(0.01, 0.08) * np.sin(2 * np.pi * 0.25 * beats.onsets)
    conducted = breath * _weights(beats.kinds, N=1.0, A=1.0, F=0.5)
    ventricular = breath * _weights(beats.kinds, V=1.0, F=0.5, E=1.0)
    rr = 0.6 * np.median(beats.rr) + 0.4 * np.clip(beats.rr, 0.5, 1.2)
    qt = heart.qt * np.cbrt(rr)
    vectors = np.zeros((3, n))

    def add(wave: Wave, start: Array, heights: Array) -> None:
        vectors[:] += np.outer(wave.vector, _gaussians(wave, start, heights, n, fs))

    if not heart.fibrillates:
        before = beats.onsets - heart.pr
        for wave in heart.p:
            add(wave, before, _weights(beats.kinds, N=1.0, F=1.0))
        for wave in heart.early_p:
            add(wave, before, _weights(beats.kinds, A=1.0))
    for wave in heart.qrs:
        add(wave, beats.onsets, conducted)
    for wave in heart.ectopic:
        add(wave, beats.onsets, ventricular)
    end = beats.onsets + heart.qrs_end
    vectors += np.outer(heart.st, _plateau(end, beats.onsets + 0.82 * qt, conducted, n, fs))
    t_wave = Wave(peak=0.0, rise=0.058, fall=0.038, vector=heart.t)
    add(t_wave, beats.onsets + 0.78 * qt, conducted)
    add(
        Wave(peak=0.05, rise=0.075, fall=0.05, vector=heart.ectopic_t),
        beats.onsets + 0.78 * qt,
        ventricular,
    )
    if heart.fibrillates:
        vectors += np.outer(heart.flutter, _fibrillation(n, fs, rng))
    return vectors


def qrs_peaks(heart: Heart, kinds: NDArray[np.str_]) -> Array:
    """Time from the QRS onset of each beat to the largest dipole: (beat,) s."""
    t = np.arange(0, 0.2, 0.001)
    conducted, ventricular = (_single_beat(waves, t) for waves in (heart.qrs, heart.ectopic))
    dipoles = {"N": conducted, "A": conducted, "F": conducted + ventricular}
    dipoles |= {"V": ventricular, "E": ventricular}
    times = {kind: t[np.argmax(np.linalg.norm(d, axis=0))] for kind, d in dipoles.items()}
    return np.array([times[str(kind)] for kind in kinds])


def _single_beat(waves: tuple[Wave, ...], t: Array) -> Array:
    """The dipole of the waves of one beat at times `t`, in steps of 1 ms: (axis, sample)."""
    start, height = np.zeros(1), np.ones(1)
    dipoles = [np.outer(w.vector, _gaussians(w, start, height, len(t), 1000.0)) for w in waves]
    return np.asarray(np.sum(dipoles, axis=0))


def _weights(kinds: NDArray[np.str_], **weight: float) -> Array:
    """The weight of each beat, by its kind; 0 for other kinds: (beat,)."""
    return np.array([weight.get(str(kind), 0.0) for kind in kinds], dtype=np.float64)


def _gaussians(wave: Wave, start: Array, heights: Array, n: int, fs: float) -> Array:
    """One wave of every beat, added up: (sample,)."""
    present = heights != 0
    peak, heights = (start + wave.peak)[present, None], heights[present, None]
    span = np.arange(-int(4 * wave.rise * fs) - 1, int(4 * wave.fall * fs) + 2)
    index = np.rint(peak * fs).astype(np.int64) + span
    t = index / fs - peak
    values = heights * np.exp(-0.5 * (t / np.where(t < 0, wave.rise, wave.fall)) ** 2)
    return _added_up(index, values, n)


def _plateau(start: Array, end: Array, heights: Array, n: int, fs: float) -> Array:
    """A level from `start` to `end` of every beat, with rounded ends: (sample,)."""
    span = np.arange(-int(0.04 * fs), int((np.max(end - start) + 0.2) * fs))
    index = np.rint(start[:, None] * fs).astype(np.int64) + span
    t = index / fs
    up = 0.5 + 0.5 * np.tanh((t - start[:, None]) / 0.012)
    down = 0.5 + 0.5 * np.tanh((end[:, None] - t) / 0.06)
    return _added_up(index, heights[:, None] * up * down, n)


def _added_up(index: NDArray[np.int64], values: Array, n: int) -> Array:
    """Values added at their sample numbers, those outside the recording left out: (sample,)."""
    inside = (index >= 0) & (index < n)
    return np.bincount(index[inside], values[inside], minlength=n).astype(np.float64)


def _fibrillation(n: int, fs: float, rng: np.random.Generator) -> Array:
    """Fibrillatory waves of 4-9 Hz with varying rate and height, about 1: (sample,)."""
    seconds = n / fs
    knots = np.linspace(0, seconds, int(seconds * 3) + 2)
    t = np.arange(n) / fs
    rate = np.clip(np.interp(t, knots, rng.normal(rng.uniform(5, 8), 0.8, len(knots))), 4, 9)
    height = np.interp(t, knots, rng.uniform(0.4, 1.4, len(knots)))
    phase = 2 * np.pi * rate.cumsum() / fs
    return np.asarray(height * (np.sin(phase) + 0.35 * np.sin(2 * phase + 0.8)))
