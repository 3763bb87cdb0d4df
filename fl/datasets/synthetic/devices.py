"""The recorders of synthetic patients, and the noise that they add to a signal."""

from dataclasses import dataclass

import numpy as np
import scipy

from fl.datasets.synthetic.heart import Array


@dataclass(frozen=True)
class Device:
    """A kind of recorder, and what it does to a signal."""

    name: str
    share: float  # of the patients who are recorded with it
    gain: float  # recorded mV over true mV
    noise: float  # mV, of muscle and amplifier
    wander: float  # mV, of the baseline
    hum: float  # mV, of the mains
    mains: float  # Hz, frequency of the mains
    loses_lead: float  # probability that a chest electrode is off


# share, gain, noise, wander, hum, mains, loses_lead
_DEVICE_TABLE = (
    (0.30, 1.00, 0.012, 0.08, 0.004, 50, 0.00),
    (0.22, 1.04, 0.022, 0.15, 0.010, 50, 0.01),
    (0.18, 0.95, 0.035, 0.12, 0.015, 50, 0.02),
    (0.14, 1.00, 0.020, 0.30, 0.006, 60, 0.02),
    (0.10, 1.08, 0.050, 0.20, 0.025, 60, 0.04),
    (0.06, 0.92, 0.060, 0.25, 0.040, 50, 0.08),
)
DEVICES = tuple(Device(f"device-{i}", *row) for i, row in enumerate(_DEVICE_TABLE, start=1))


def with_noise(
    device: Device,
    clean: Array,
    fs: float,
    *,
    level: float,
    holter: bool,
    rng: np.random.Generator,
) -> Array:
    """Leads I, II, V1..V6 as the device records them: (lead, sample) mV -> the same.

    `level` multiplies all noise, hum and wander. A Holter is worn while walking about, so it has
    more noise and wander. The other leads follow from these.
    """
    channels, n = clean.shape
    t = np.arange(n) / fs
    amount = level * rng.lognormal(0, 0.35)
    restlessness = 1.6 if holter else 1.0
    muscle = _muscle_activity(t, rng) * scipy.signal.lfilter(
        [1.0], [1.0, -0.6], rng.normal(size=(channels, n))
    )
    knots = np.arange(0, t[-1] + 2.5, 2.5)
    drift = rng.normal(size=(channels, len(knots)))
    breath = np.sin(2 * np.pi * (rng.uniform(0.18, 0.35) * t + rng.random()))
    wander = np.stack([_smooth_curve(t, knots, row) for row in drift])
    wander += rng.normal(0, 0.5, (channels, 1)) * breath
    wander += _electrode_artefacts(t, channels, rng)
    hum = rng.normal(0, 1, (channels, 1)) * np.sin(2 * np.pi * (device.mains * t + rng.random()))
    signal = clean + amount * (
        restlessness * (0.8 * device.noise * muscle + device.wander * wander) + device.hum * hum
    )
    return np.asarray(device.gain * signal)


def _muscle_activity(t: Array, rng: np.random.Generator) -> Array:
    """How strong muscle noise is over time, about 1: (sample,)."""
    knots = np.arange(0, t[-1] + 1, 1.0)
    return np.asarray(np.interp(t, knots, rng.lognormal(-0.1, 0.4, len(knots))))


def _electrode_artefacts(t: Array, channels: int, rng: np.random.Generator) -> Array:
    """Artefacts of electrodes that are touched, which may look like beats: (channel, sample)."""
    artefacts = np.zeros((channels, len(t)))
    for _ in range(rng.poisson(0.08 * t[-1])):
        peak, width = rng.uniform(0, t[-1]), rng.uniform(0.02, 0.12)
        height = rng.normal(0, 2.5, channels) * (rng.random(channels) < 0.4)
        artefacts += np.outer(height, np.exp(-0.5 * ((t - peak) / width) ** 2))
    return artefacts


def _smooth_curve(t: Array, knots: Array, values: Array) -> Array:
    """Values at `t` of a smooth curve through the values at the knots: (sample,)."""
    position = np.interp(t, knots, np.arange(len(knots)))
    left = np.minimum(position.astype(np.int64), len(knots) - 2)
    share = position - left
    share = share * share * (3 - 2 * share)
    return np.asarray(values[left] * (1 - share) + values[left + 1] * share)
