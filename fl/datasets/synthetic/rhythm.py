"""The rhythm of one simulated recording: when its beats come, and where each one starts."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.datasets.synthetic.heart import Array, Heart


@dataclass(frozen=True, kw_only=True)
class Beats:
    """The beats of one recording, in order of time."""

    onsets: Array  # (beat,) s, onset of the QRS
    rr: Array  # (beat,) s since the previous beat
    kinds: NDArray[np.str_]  # (beat,) "N" conducted, "A" atrial, "V" ventricular, "F" fusion,
    #   "E" ventricular escape


def make_beats(heart: Heart, seconds: float, rng: np.random.Generator) -> Beats:
    """The beats of one recording, with some shortly before its start and after its end."""
    sinus = 60 / heart.rate * rng.normal(1, 0.03)
    count = int(seconds / 0.3) + 6
    rr = _irregular(sinus, count, rng) if heart.fibrillates else _sinus(sinus, count, rng)
    n_inside = max(4, int(seconds / rr.mean()))
    kinds = _ectopy(heart.ectopics, n_inside, count, rng)
    for i in np.flatnonzero(kinds != "N"):
        after = rr[i + 1]
        if kinds[i] == "A":  # it resets the sinus node, so the pause is not compensatory
            rr[i] *= rng.uniform(0.62, 0.88)
            rr[i + 1] = after * rng.uniform(1.0, 1.12)
        else:  # the sinus node is not reset, so the pause is compensatory
            early = rng.uniform(0.92, 0.97) if kinds[i] == "F" else rng.uniform(0.52, 0.74)
            if not heart.fibrillates:
                rr[i + 1] = after + rr[i] * (1 - early)
            rr[i] *= early
    onsets = rng.uniform(-0.8, 0.2) * rr[0] + np.concatenate([[0.0], rr[1:]]).cumsum()
    keep = onsets < seconds + 0.5
    return Beats(onsets=onsets[keep], rr=rr[keep], kinds=kinds[keep])


def _sinus(mean: float, count: int, rng: np.random.Generator) -> Array:
    """RR intervals in s with respiratory sinus arrhythmia and slow (1/f) drift: (beat,)."""
    breath = min(0.01 + rng.exponential(0.035), 0.18)
    respiration = np.sin(
        np.arange(count) * 2 * np.pi * mean * rng.uniform(0.2, 0.32) + rng.uniform(0, 6)
    )
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    drift = np.fft.irfft(spectrum, count)
    return np.asarray(
        mean * (1 + breath * respiration + rng.uniform(0.01, 0.04) * drift / drift.std())
    )


def _irregular(mean: float, count: int, rng: np.random.Generator) -> Array:
    """RR intervals in s of atrial fibrillation, each independent of the others: (beat,)."""
    spread = rng.uniform(0.07, 0.22)
    return np.clip(mean * rng.gamma(1 / spread**2, spread**2, count), 0.31, 2.2)


def _ectopy(
    symbols: Collection[str], n_inside: int, count: int, rng: np.random.Generator
) -> NDArray[np.str_]:
    """Kind of each beat, (beat,), with a premature beat of every symbol inside the recording."""
    kinds = np.full(count, "N")
    for symbol in sorted(symbols):
        free = [i for i in range(2, n_inside - 1) if set(kinds[i - 1 : i + 2]) == {"N"}]
        distance = rng.uniform(4, 16)  # beats from one premature beat to the next
        for i in rng.permutation(free)[: max(1, round(n_inside / distance))]:
            if kinds[i - 1] == kinds[i + 1] == "N":
                kinds[i] = symbol
    if "V" in symbols and rng.random() < 0.3:
        free = [i for i in range(2, n_inside - 1) if set(kinds[i - 1 : i + 2]) == {"N"}]
        kinds[free[:1]] = "F"
    return kinds
