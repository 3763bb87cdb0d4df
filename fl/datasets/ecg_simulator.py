"""A heart that can be written down: when it beats, and the dipole that each beat draws.

Every wave is a Gaussian in time times a vector in space (McSharry et al. 2003,
10.1109/TBME.2003.808805, in three dimensions as in Sameni et al. 2007, 10.1155/2007/43407); the
leads are that dipole seen from the electrodes (Dower et al. 1980, 10.1002/clc.1980.3.2.87).
Ours are the asymmetric Gaussians, the plateau for the ST segment, conduction, ectopy and all
numbers. Vectors are Frank's axes in mV: x to the left, y to the feet, z to the back; times in s.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Dower's leads I, II, V1..V6 of the dipole (x, y, z).
DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)

# The twelve leads of I, II, V1..V6: Einthoven's and Goldberger's equations.
TWELVE = np.zeros((12, 8))
TWELVE[:6, 0] = [1.0, 0.0, -1.0, -0.5, 1.0, -0.5]
TWELVE[:6, 1] = [0.0, 1.0, 1.0, -0.5, -0.5, 1.0]
TWELVE[6:, 2:] = np.eye(6)


@dataclass(frozen=True, kw_only=True)
class Wave:
    """One Gaussian of a beat: its peak after the QRS onset, its two widths, its direction."""

    peak: float  # s
    rise: float  # s, standard deviation before the peak
    fall: float  # s, standard deviation after it
    vector: Array  # (axis,) mV


@dataclass(frozen=True, kw_only=True)
class Heart:
    """What stays the same from one recording of a patient to the next."""

    matrix: Array  # (lead of I, II, V1..V6; axis): this chest's version of Dower's matrix
    fibrillates: bool
    ectopics: frozenset[str]  # "A" and "V" where they occur
    symbol: str  # PhysioNet's for a conducted beat: N, L or R
    rate: float  # beats per minute
    pr: float  # s
    qt: float  # s at a rate of 60
    p: tuple[Wave, ...]  # timed from the onset of the P wave
    early_p: tuple[Wave, ...]  # of a premature atrial beat
    qrs: tuple[Wave, ...]
    qrs_end: float  # s after the QRS onset
    st: Array  # (axis,) mV
    t: Array  # (axis,) mV
    ectopic: tuple[Wave, ...]  # QRS of a premature ventricular beat
    ectopic_t: Array  # (axis,) mV
    flutter: Array  # (axis,) mV, fibrillatory waves


@dataclass(frozen=True, kw_only=True)
class Conduction:
    """How the impulse spreads through the ventricles, and what follows from it."""

    qrs: tuple[Wave, ...]
    end: float  # s after the QRS onset
    st: Array  # (axis,) mV, discordant shift
    t: Array  # (axis,) mV
    symbol: str


@dataclass(frozen=True, kw_only=True)
class Beats:
    """The beats of one recording in the order of time."""

    onsets: Array  # (beat,) s, onset of the QRS
    rr: Array  # (beat,) s since the beat before
    kinds: NDArray[np.str_]  # (beat,) "N" conducted, "A" atrial, "V" ventricular, "F" fusion


def heart(labels: Collection[str], sex: str, rng: np.random.Generator) -> Heart:
    """A patient's heart and chest in which these rhythm classes hold."""
    size = rng.lognormal(-0.05 if sex == "F" else 0.08, 0.22)
    turn = _rotation(rng.normal(0, 20), rng.normal(0, 14))
    matrix = DOWER * rng.lognormal(0, 0.1, (8, 1)) + rng.normal(0, 0.04, (8, 3))
    conduction = _conduction(labels, turn * size, rng)
    atrial = _rotation(rng.normal(0, 10), rng.normal(0, 10)) * rng.lognormal(-0.15, 0.35)
    p_width = rng.uniform(0.9, 1.15)
    ectopic, ectopic_t = _ventricular(rng, size)
    early_turn = _rotation(rng.normal(-40, 40), rng.normal(10, 30))
    st, t = conduction.st + _usual_st(matrix, rng), conduction.t
    if shift := {"STD", "STE"}.intersection(labels):
        st, t = _shifted("STE" in shift, matrix, t, rng)
    return Heart(
        matrix=matrix,
        fibrillates="AF" in labels,
        ectopics=frozenset({"PAC": "A", "PVC": "V"}[c] for c in ("PAC", "PVC") if c in labels),
        symbol=conduction.symbol,
        rate=rng.uniform(62, 130) if "AF" in labels else rng.uniform(55, 98),
        pr=_pr("IAVB" in labels, rng),
        qt=np.clip(rng.normal(0.40, 0.018), 0.36, 0.44) + 0.6 * max(0.0, conduction.end - 0.1),
        p=_p_wave(p_width, atrial),
        early_p=_p_wave(0.85 * p_width, early_turn @ atrial),
        qrs=conduction.qrs,
        qrs_end=conduction.end,
        st=st,
        t=t,
        ectopic=ectopic,
        ectopic_t=ectopic_t,
        flutter=rng.lognormal(-0.5, 0.6) * np.array([0.01, 0.045, -0.05]),
    )


def _rotation(frontal: float, horizontal: float) -> Array:
    """Rotation of the dipole in the frontal, then in the horizontal plane (degrees)."""
    a, b = np.radians([frontal, horizontal])
    tilt = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    swing = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    return np.asarray(swing @ tilt, dtype=np.float64)


def _pr(prolonged: bool, rng: np.random.Generator) -> float:
    """PR interval in s: to 0.196 normally; from 0.204 in first-degree block."""
    if prolonged:
        return float(min(0.204 + rng.exponential(0.03), 0.34))
    return float(np.clip(rng.normal(0.168, 0.024), 0.12, 0.196))


def _p_wave(width: float, turn: Array) -> tuple[Wave, ...]:
    """Right atrium, then left: upright in II, biphasic in V1."""
    right, left = turn @ [0.03, 0.095, -0.06], turn @ [0.065, 0.055, 0.05]
    return (
        Wave(peak=0.045 * width, rise=0.015 * width, fall=0.017 * width, vector=right),
        Wave(peak=0.077 * width, rise=0.017 * width, fall=0.016 * width, vector=left),
    )


def _conduction(labels: Collection[str], turn: Array, rng: np.random.Generator) -> Conduction:
    """How the ventricles are excited; without a block, now and then an incomplete one."""

    def wave(peak: float, width: float, *vector: float) -> Wave:
        spread = rng.lognormal(0, 0.18)
        return Wave(peak=peak, rise=width, fall=width, vector=turn @ vector * spread)

    tall = rng.lognormal(-0.15, 0.5)
    complete = "LBBB" in labels or "RBBB" in labels
    part = "" if complete else rng.choice(["", "left", "right"], p=[0.82, 0.07, 0.11])
    if "LBBB" in labels or part == "left":
        d = rng.uniform(0.124, 0.165) if complete else rng.uniform(0.100, 0.116)
        waves = (
            wave(0.22 * d, 0.09 * d, 0.35, 0.25, 0.15),
            wave(0.42 * d, 0.108 * d, 0.75, 0.35, 0.85),
            wave(0.70 * d, 0.108 * d, 0.85, 0.20, 0.45),
        )
        discord = rng.uniform(0.5, 1.1) if complete else rng.uniform(-0.6, 0.4)
        return Conduction(
            qrs=waves,
            end=d,
            st=max(discord, 0) * turn @ [-0.07, -0.03, -0.10],
            t=discord * turn @ [-0.34, -0.12, -0.42],
            symbol="L" if complete else "N",
        )
    right = complete or part == "right"
    narrow = rng.uniform(0.070, 0.095) if right else rng.uniform(0.075, 0.112)
    waves = (
        wave(0.22 * narrow, 0.09 * narrow, -0.12, rng.normal(0, 0.05), -0.30),
        wave(0.47 * narrow, 0.11 * narrow, 1.12, 0.90, -0.05 if right else 0.25),
        wave(0.74 * narrow, 0.10 * narrow, -0.25, -0.20, 0.52),
    )
    if not right:
        t = tall * turn @ [0.31, 0.24, -0.12]
        return Conduction(qrs=waves, end=narrow, st=np.zeros(3), t=t, symbol="N")
    d = rng.uniform(0.124, 0.155) if complete else rng.uniform(0.098, 0.114)
    size = rng.uniform(0.5, 1.15) if complete else rng.uniform(0.3, 0.8)
    late = wave(d - 0.031, 0.0165, -0.62 * size, -0.05, -0.52 * size)
    t = tall * turn @ [0.28, 0.22, rng.uniform(-0.05, 0.13)]
    symbol = "R" if complete else "N"
    return Conduction(qrs=(*waves, late), end=d, st=np.zeros(3), t=t, symbol=symbol)


def _usual_st(matrix: Array, rng: np.random.Generator) -> Array:
    """ST shift of no meaning: below 0.09 mV in every lead."""
    st = rng.normal(0, 0.05, 3)
    return np.asarray(st * min(1.0, 0.09 / np.max(np.abs(TWELVE @ matrix @ st))))


def _shifted(up: bool, matrix: Array, t: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """ST and T vectors of an ST segment at least 0.1 mV above or below the line in lead II."""
    level = 0.12 + rng.exponential(0.04)
    if not up:
        toward = _rotation(rng.normal(0, 10), rng.normal(0, 15)) @ [-0.70, -0.65, 0.25]
        return toward * level / abs(matrix[1] @ toward), t * rng.uniform(0.2, 1.1)
    inferior, anterior = [-0.05, 1.0, 0.10], [0.60, 0.35, -0.50]
    toward = _rotation(rng.normal(0, 7), rng.normal(0, 7)) @ (
        inferior if rng.random() < 0.5 else anterior
    )
    return toward * level / abs(matrix[1] @ toward), t * rng.uniform(0.7, 1.3)


def _ventricular(rng: np.random.Generator, size: float) -> tuple[tuple[Wave, ...], Array]:
    """Broad QRS and discordant T of a beat that starts in the right or the left ventricle."""
    up = rng.choice([-1.0, 1.0])
    right = [0.65, 0.8 * up, 0.80]
    left = [-0.65, 0.8 * up, -0.80]
    toward = (right if rng.random() < 0.6 else left) + rng.normal(0, 0.15, 3)
    toward *= size * rng.uniform(0.7, 1.4)
    d = rng.uniform(0.13, 0.175)
    later = _rotation(rng.normal(0, 20), rng.normal(0, 20)) @ toward
    waves = (
        Wave(peak=0.36 * d, rise=0.13 * d, fall=0.15 * d, vector=toward),
        Wave(peak=0.66 * d, rise=0.15 * d, fall=0.13 * d, vector=0.7 * later),
    )
    return waves, -0.42 * toward


def beats(heart: Heart, seconds: float, rng: np.random.Generator) -> Beats:
    """The rhythm of one recording, a beat either side included."""
    sinus = 60 / heart.rate * rng.normal(1, 0.03)
    count = int(seconds / 0.3) + 6
    rr = _irregular(sinus, count, rng) if heart.fibrillates else _sinus(sinus, count, rng)
    n_seen = max(4, int(seconds / rr.mean()))
    kinds = _ectopy(heart.ectopics, n_seen, count, rng)
    for i in np.flatnonzero(kinds != "N"):
        after = rr[i + 1]
        if kinds[i] == "A":  # resets the sinus node: the pause is not compensatory
            rr[i] *= rng.uniform(0.62, 0.88)
            rr[i + 1] = after * rng.uniform(1.0, 1.12)
        else:  # the sinus node goes on unaware: the pause is compensatory
            early = rng.uniform(0.92, 0.97) if kinds[i] == "F" else rng.uniform(0.52, 0.74)
            if not heart.fibrillates:
                rr[i + 1] = after + rr[i] * (1 - early)
            rr[i] *= early
    onsets = rng.uniform(-0.8, 0.2) * rr[0] + np.concatenate([[0.0], rr[1:]]).cumsum()
    keep = onsets < seconds + 0.5
    return Beats(onsets=onsets[keep], rr=rr[keep], kinds=kinds[keep])


def _sinus(mean: float, count: int, rng: np.random.Generator) -> Array:
    """RR intervals with respiratory sinus arrhythmia and slow (1/f) drift."""
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
    """RR intervals of atrial fibrillation: each independent of the one before."""
    spread = rng.uniform(0.07, 0.22)
    return np.clip(mean * rng.gamma(1 / spread**2, spread**2, count), 0.31, 2.2)


def _ectopy(
    symbols: Collection[str], n_seen: int, count: int, rng: np.random.Generator
) -> NDArray[np.str_]:
    """Kind of each beat: at least one premature beat of every symbol among those seen."""
    kinds = np.full(count, "N")
    for symbol in sorted(symbols):
        free = [i for i in range(2, n_seen - 1) if set(kinds[i - 1 : i + 2]) == {"N"}]
        every = rng.uniform(4, 16)  # beats from one to the next
        for i in rng.permutation(free)[: max(1, round(n_seen / every))]:
            if kinds[i - 1] == kinds[i + 1] == "N":
                kinds[i] = symbol
    if "V" in symbols and rng.random() < 0.3:
        free = [i for i in range(2, n_seen - 1) if set(kinds[i - 1 : i + 2]) == {"N"}]
        kinds[free[:1]] = "F"
    return kinds


def dipole(heart: Heart, beats: Beats, n: int, fs: float, rng: np.random.Generator) -> Array:
    """The heart's dipole over one recording: (axis, sample) mV."""
    breath = 1 + rng.uniform(0.01, 0.08) * np.sin(2 * np.pi * 0.25 * beats.onsets)
    own = breath * _weights(beats.kinds, N=1.0, A=1.0, F=0.5)
    foreign = breath * _weights(beats.kinds, V=1.0, F=0.5)
    rr = 0.6 * np.median(beats.rr) + 0.4 * np.clip(beats.rr, 0.5, 1.2)
    qt = heart.qt * np.cbrt(rr)
    field = np.zeros((3, n))

    def add(wave: Wave, start: Array, heights: Array) -> None:
        field[:] += np.outer(wave.vector, _bumps(wave, start, heights, n, fs))

    if not heart.fibrillates:
        before = beats.onsets - heart.pr
        for wave in heart.p:
            add(wave, before, _weights(beats.kinds, N=1.0, F=1.0))
        for wave in heart.early_p:
            add(wave, before, _weights(beats.kinds, A=1.0))
    for wave in heart.qrs:
        add(wave, beats.onsets, own)
    for wave in heart.ectopic:
        add(wave, beats.onsets, foreign)
    end = beats.onsets + heart.qrs_end
    field += np.outer(heart.st, _plateau(end, beats.onsets + 0.82 * qt, own, n, fs))
    t_wave = Wave(peak=0.0, rise=0.058, fall=0.038, vector=heart.t)
    add(t_wave, beats.onsets + 0.78 * qt, own)
    add(
        Wave(peak=0.05, rise=0.075, fall=0.05, vector=heart.ectopic_t),
        beats.onsets + 0.78 * qt,
        foreign,
    )
    if heart.fibrillates:
        field += np.outer(heart.flutter, _fibrillation(n, fs, rng))
    return field


def peaks(heart: Heart, kinds: NDArray[np.str_]) -> Array:
    """Time from the QRS onset of each beat to its peak: (beat,) s."""
    t = np.arange(0, 0.2, 0.001)
    own, foreign = (_magnitude(waves, t) for waves in (heart.qrs, heart.ectopic))
    at = {"N": own, "A": own, "V": foreign, "F": own + foreign}
    found = {kind: t[np.argmax(np.linalg.norm(field, axis=0))] for kind, field in at.items()}
    return np.array([found[str(kind)] for kind in kinds])


def _magnitude(waves: tuple[Wave, ...], t: Array) -> Array:
    zero, one = np.zeros(1), np.ones(1)
    drawn = [np.outer(w.vector, _bumps(w, zero, one, len(t), 1000.0)) for w in waves]
    return np.asarray(np.sum(drawn, axis=0))


def _weights(kinds: NDArray[np.str_], **weight: float) -> Array:
    return np.array([weight.get(str(kind), 0.0) for kind in kinds], dtype=np.float64)


def _bumps(wave: Wave, start: Array, heights: Array, n: int, fs: float) -> Array:
    """One wave of every beat, added into place: (sample,)."""
    seen = heights != 0
    at, heights = (start + wave.peak)[seen, None], heights[seen, None]
    span = np.arange(-int(4 * wave.rise * fs) - 1, int(4 * wave.fall * fs) + 2)
    index = np.rint(at * fs).astype(np.int64) + span
    t = index / fs - at
    values = heights * np.exp(-0.5 * (t / np.where(t < 0, wave.rise, wave.fall)) ** 2)
    return _placed(index, values, n)


def _plateau(start: Array, end: Array, heights: Array, n: int, fs: float) -> Array:
    """A level from `start` to `end` of every beat with soft shoulders: (sample,)."""
    span = np.arange(-int(0.04 * fs), int((np.max(end - start) + 0.2) * fs))
    index = np.rint(start[:, None] * fs).astype(np.int64) + span
    t = index / fs
    up = 0.5 + 0.5 * np.tanh((t - start[:, None]) / 0.012)
    down = 0.5 + 0.5 * np.tanh((end[:, None] - t) / 0.06)
    return _placed(index, heights[:, None] * up * down, n)


def _placed(index: NDArray[np.int64], values: Array, n: int) -> Array:
    inside = (index >= 0) & (index < n)
    return np.bincount(index[inside], values[inside], minlength=n).astype(np.float64)


def _fibrillation(n: int, fs: float, rng: np.random.Generator) -> Array:
    """Fibrillatory waves of 4-9 Hz whose rate and height wander: (sample,), height about 1."""
    seconds = n / fs
    knots = np.linspace(0, seconds, int(seconds * 3) + 2)
    t = np.arange(n) / fs
    rate = np.clip(np.interp(t, knots, rng.normal(rng.uniform(5, 8), 0.8, len(knots))), 4, 9)
    height = np.interp(t, knots, rng.uniform(0.4, 1.4, len(knots)))
    phase = 2 * np.pi * rate.cumsum() / fs
    return np.asarray(height * (np.sin(phase) + 0.35 * np.sin(2 * phase + 0.8)))
