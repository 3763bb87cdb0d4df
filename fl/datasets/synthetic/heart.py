"""A simulated heart: the waves of its beats, how it conducts, and how the leads see it.

Every wave is a Gaussian in time times a vector in space (McSharry et al. 2003,
10.1109/TBME.2003.808805, in three dimensions as in Sameni et al. 2007, 10.1155/2007/43407); the
leads are that dipole seen from the electrodes (Dower et al. 1980, 10.1002/clc.1980.3.2.87).
The asymmetric Gaussians, the plateau for the ST segment, conduction, ectopy and all numbers are
our own. Vectors are in mV along Frank's axes: x to the left, y to the feet, z to the back. Times
are in s.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Dower's matrix: leads I, II, V1..V6 from the dipole (x, y, z).
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

# The twelve leads from I, II, V1..V6, by Einthoven's and Goldberger's equations.
TWELVE = np.zeros((12, 8))
TWELVE[:6, 0] = [1.0, 0.0, -1.0, -0.5, 1.0, -0.5]
TWELVE[:6, 1] = [0.0, 1.0, 1.0, -0.5, -0.5, 1.0]
TWELVE[6:, 2:] = np.eye(6)


@dataclass(frozen=True, kw_only=True)
class Wave:
    """One wave of a beat: a Gaussian in time times a vector in space."""

    peak: float  # s after the QRS onset
    rise: float  # s, standard deviation before the peak
    fall: float  # s, standard deviation after it
    vector: Array  # (axis,) mV


@dataclass(frozen=True, kw_only=True)
class Heart:
    """A patient's heart and chest, the same in every recording of the patient."""

    matrix: Array  # (lead of I, II, V1..V6; axis), this patient's variant of Dower's matrix
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
    """How the impulse spreads through the ventricles, and the ST and T that follow."""

    qrs: tuple[Wave, ...]
    end: float  # s after the QRS onset
    st: Array  # (axis,) mV, shift opposite to the QRS
    t: Array  # (axis,) mV
    symbol: str  # PhysioNet's for its beats: N, L or R


def make_heart(labels: Collection[str], sex: str, rng: np.random.Generator) -> Heart:
    """A random heart and chest of a patient with these rhythm classes; `sex` is F or M."""
    size = rng.lognormal(-0.05 if sex == "F" else 0.08, 0.22)
    rotation = _rotation(rng.normal(0, 20), rng.normal(0, 14))
    matrix = DOWER * rng.lognormal(0, 0.1, (8, 1)) + rng.normal(0, 0.04, (8, 3))
    conduction = _conduction(labels, rotation * size, rng)
    atrial = _rotation(rng.normal(0, 10), rng.normal(0, 10)) * rng.lognormal(-0.15, 0.35)
    p_width = rng.uniform(0.9, 1.15)
    ectopic, ectopic_t = _ventricular(rng, size)
    early_rotation = _rotation(rng.normal(-40, 40), rng.normal(10, 30))
    st, t = conduction.st + _normal_st(matrix, rng), conduction.t
    if shift := {"STD", "STE"}.intersection(labels):
        st, t = _shifted_st("STE" in shift, matrix, t, rng)
    return Heart(
        matrix=matrix,
        fibrillates="AF" in labels,
        ectopics=frozenset({"PAC": "A", "PVC": "V"}[c] for c in ("PAC", "PVC") if c in labels),
        symbol=conduction.symbol,
        rate=rng.uniform(62, 130) if "AF" in labels else rng.uniform(55, 98),
        pr=_pr("IAVB" in labels, rng),
        qt=np.clip(rng.normal(0.40, 0.018), 0.36, 0.44) + 0.6 * max(0.0, conduction.end - 0.1),
        p=_p_wave(p_width, atrial),
        early_p=_p_wave(0.85 * p_width, early_rotation @ atrial),
        qrs=conduction.qrs,
        qrs_end=conduction.end,
        st=st,
        t=t,
        ectopic=ectopic,
        ectopic_t=ectopic_t,
        flutter=rng.lognormal(-0.5, 0.6) * np.array([0.01, 0.045, -0.05]),
    )


def _rotation(frontal: float, horizontal: float) -> Array:
    """Rotation of the dipole in the frontal, then in the horizontal plane, in degrees: (3, 3)."""
    a, b = np.radians([frontal, horizontal])
    in_frontal = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    in_horizontal = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    return np.asarray(in_horizontal @ in_frontal, dtype=np.float64)


def _pr(prolonged: bool, rng: np.random.Generator) -> float:
    """PR interval in s: up to 0.196 normally, from 0.204 in first-degree block."""
    if prolonged:
        return float(min(0.204 + rng.exponential(0.03), 0.34))
    return float(np.clip(rng.normal(0.168, 0.024), 0.12, 0.196))


def _p_wave(width: float, rotation: Array) -> tuple[Wave, ...]:
    """The right atrium, then the left: upright in II, biphasic in V1."""
    right, left = rotation @ [0.03, 0.095, -0.06], rotation @ [0.065, 0.055, 0.05]
    return (
        Wave(peak=0.045 * width, rise=0.015 * width, fall=0.017 * width, vector=right),
        Wave(peak=0.077 * width, rise=0.017 * width, fall=0.016 * width, vector=left),
    )


def _conduction(labels: Collection[str], rotation: Array, rng: np.random.Generator) -> Conduction:
    """How the ventricles are excited; a patient without a block may have an incomplete one."""

    def wave(peak: float, width: float, *vector: float) -> Wave:
        spread = rng.lognormal(0, 0.18)
        return Wave(peak=peak, rise=width, fall=width, vector=rotation @ vector * spread)

    t_size = rng.lognormal(-0.15, 0.5)
    complete = "LBBB" in labels or "RBBB" in labels
    incomplete = "" if complete else rng.choice(["", "left", "right"], p=[0.82, 0.07, 0.11])
    if "LBBB" in labels or incomplete == "left":
        duration = rng.uniform(0.124, 0.165) if complete else rng.uniform(0.100, 0.116)
        waves = (
            wave(0.22 * duration, 0.09 * duration, 0.35, 0.25, 0.15),
            wave(0.42 * duration, 0.108 * duration, 0.75, 0.35, 0.85),
            wave(0.70 * duration, 0.108 * duration, 0.85, 0.20, 0.45),
        )
        discordance = rng.uniform(0.5, 1.1) if complete else rng.uniform(-0.6, 0.4)
        return Conduction(
            qrs=waves,
            end=duration,
            st=max(discordance, 0) * rotation @ [-0.07, -0.03, -0.10],
            t=discordance * rotation @ [-0.34, -0.12, -0.42],
            symbol="L" if complete else "N",
        )
    right = complete or incomplete == "right"
    narrow = rng.uniform(0.070, 0.095) if right else rng.uniform(0.075, 0.112)
    waves = (
        wave(0.22 * narrow, 0.09 * narrow, -0.12, rng.normal(0, 0.05), -0.30),
        wave(0.47 * narrow, 0.11 * narrow, 1.12, 0.90, -0.05 if right else 0.25),
        wave(0.74 * narrow, 0.10 * narrow, -0.25, -0.20, 0.52),
    )
    if not right:
        t = t_size * rotation @ [0.31, 0.24, -0.12]
        return Conduction(qrs=waves, end=narrow, st=np.zeros(3), t=t, symbol="N")
    duration = rng.uniform(0.124, 0.155) if complete else rng.uniform(0.098, 0.114)
    size = rng.uniform(0.5, 1.15) if complete else rng.uniform(0.3, 0.8)
    late = wave(duration - 0.031, 0.0165, -0.62 * size, -0.05, -0.52 * size)
    t = t_size * rotation @ [0.28, 0.22, rng.uniform(-0.05, 0.13)]
    symbol = "R" if complete else "N"
    return Conduction(qrs=(*waves, late), end=duration, st=np.zeros(3), t=t, symbol=symbol)


def _normal_st(matrix: Array, rng: np.random.Generator) -> Array:
    """A normal ST shift, below 0.09 mV in every lead: (axis,)."""
    st = rng.normal(0, 0.05, 3)
    return np.asarray(st * min(1.0, 0.09 / np.max(np.abs(TWELVE @ matrix @ st))))


def _shifted_st(up: bool, matrix: Array, t: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """ST and T vectors with the ST segment at least 0.1 mV above or below baseline in lead II."""
    level = 0.12 + rng.exponential(0.04)
    if not up:
        direction = _rotation(rng.normal(0, 10), rng.normal(0, 15)) @ [-0.70, -0.65, 0.25]
        return direction * level / abs(matrix[1] @ direction), t * rng.uniform(0.2, 1.1)
    inferior, anterior = [-0.05, 1.0, 0.10], [0.60, 0.35, -0.50]
    direction = _rotation(rng.normal(0, 7), rng.normal(0, 7)) @ (
        inferior if rng.random() < 0.5 else anterior
    )
    return direction * level / abs(matrix[1] @ direction), t * rng.uniform(0.7, 1.3)


def _ventricular(rng: np.random.Generator, size: float) -> tuple[tuple[Wave, ...], Array]:
    """Broad QRS and opposite T of a beat that starts in the right or the left ventricle."""
    up = rng.choice([-1.0, 1.0])
    right = [0.65, 0.8 * up, 0.80]
    left = [-0.65, 0.8 * up, -0.80]
    direction = (right if rng.random() < 0.6 else left) + rng.normal(0, 0.15, 3)
    direction *= size * rng.uniform(0.7, 1.4)
    d = rng.uniform(0.13, 0.175)  # s, duration of the QRS
    later = _rotation(rng.normal(0, 20), rng.normal(0, 20)) @ direction
    waves = (
        Wave(peak=0.36 * d, rise=0.13 * d, fall=0.15 * d, vector=direction),
        Wave(peak=0.66 * d, rise=0.15 * d, fall=0.13 * d, vector=0.7 * later),
    )
    return waves, -0.42 * direction
