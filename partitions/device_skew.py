"""Feature skew: each site has its own recorder with its own faults, whatever its patients have.

A recorder acts on the cached signal when a site's batch is made, after resampling, filtering and
z-scoring, so no second copy of the data is needed. Parts of a fault that these steps would have
removed are not added: docs/partitions.md says what remains of each fault.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Indices
from fl.ecg.filters import Signal, bandpass, resample
from fl.ecg.records import LEADS
from fl.ecg.tasks import Task
from fl.util.errors import ConfigError, require_known
from fl.util.random_streams import stream

Faults = dict[str, Any]  # fields of SiteRecorder

# Ranges from which the faults are drawn; amplitudes in standard deviations of the lead.
MUSCLE = (0.05, 0.4)  # standard deviation of muscle noise
MUSCLE_FROM = 20.0  # Hz; muscle noise has little power below
HUM = (0.05, 0.4)  # amplitude of mains hum
MAINS = (50.0, 60.0)  # Hz
RAILS = (1.5, 4.0)  # level at which an amplifier saturates
RATES = (25.0, 30.0, 40.0, 50.0)  # Hz of a slow recorder
LOOP = 4096  # samples of muscle noise, repeated; each recording starts at its own position


def noise(rng: np.random.Generator, task: Task) -> Faults:
    """Muscle noise and mains hum, each of a strength of the site's own."""
    return {
        "muscle": round(rng.uniform(*MUSCLE), 3),
        "hum": round(rng.uniform(*HUM), 3),
        "mains": float(rng.choice(MAINS)),
    }


def gain(rng: np.random.Generator, task: Task) -> Faults:
    """So much gain that tall waves are clipped."""
    return {"rails": round(rng.uniform(*RAILS), 2)}


def leads(rng: np.random.Generator, task: Task) -> Faults:
    """Between one lead and half of the leads are not delivered."""
    n = int(rng.integers(1, task.leads // 2 + 1))
    return {"lost": tuple(sorted(rng.permutation(task.leads)[:n].tolist()))}


def rate(rng: np.random.Generator, task: Task) -> Faults:
    """A lower sampling rate."""
    return {"rate": float(rng.choice(RATES))}


SKEWS: dict[str, Callable[[np.random.Generator, Task], Faults]] = {
    "noise": noise,
    "gain": gain,
    "leads": leads,
    "rate": rate,
}


@dataclass(frozen=True, kw_only=True)
class SiteRecorder:
    """The recorder of one site; its fields are its faults."""

    task: Task
    seed: int
    site: str
    muscle: float = 0.0  # standard deviation of muscle noise, in standard deviations of the lead
    hum: float = 0.0  # amplitude of mains hum, in standard deviations of the lead
    mains: float = 50.0  # Hz
    rails: float = 0.0  # saturation level in standard deviations of the lead; 0: never
    lost: tuple[int, ...] = ()  # numbers of the leads that are not delivered
    rate: float = 0.0  # sampling rate in Hz; 0: the task's own

    def delivered_leads(self, recorded: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """All leads but the lost ones; an example that would have none keeps its first.

        (example, lead) -> (example, lead).
        """
        delivered = recorded.copy()
        delivered[:, list(self.lost)] = False
        empty = ~delivered.any(axis=1)
        first = recorded & (recorded.cumsum(axis=1) == 1)
        delivered[empty] = first[empty]
        return delivered

    def record(self, signal: Signal, names: NDArray[np.str_], positions: Indices) -> Signal:
        """Crops with the faults of this recorder: (example, lead, sample) -> the same.

        Noise is added first, then the signal is clipped, then its rate is lowered. Each lead
        keeps its standard deviation, because z-scoring would undo a change of it. A missing lead
        stays zero. `names` (example,) and `positions` (example, sample) say what is recorded.
        """
        spread = signal.std(axis=-1, keepdims=True)
        faulty = signal
        if self.muscle or self.hum:
            faulty = faulty + spread * self._noise(names, positions)
        if self.rails:
            faulty = faulty.clip(-self.rails * spread, self.rails * spread)
        if self.rate:
            slow = resample(faulty, self.task.fs, self.rate)
            faulty = resample(slow, self.rate, self.task.fs)[..., : signal.shape[-1]]
        faulty_spread = faulty.std(axis=-1, keepdims=True)
        scale = spread / np.where(faulty_spread > 0, faulty_spread, 1.0)
        return np.asarray(faulty * scale, dtype=np.float32)

    def facts(self) -> Faults:
        """The faults, as run.json states them."""
        faults = {name: getattr(self, name) for name in ("muscle", "rails", "rate")}
        if self.hum and self._keeps_hum:
            faults |= {"hum": self.hum, "mains": self.mains}
        faults["lost"] = [LEADS[lead] for lead in self.lost]
        return {name: value for name, value in faults.items() if value}

    @property
    def _keeps_hum(self) -> bool:
        # Preprocessing removes everything from half the sampling rate upwards.
        return self.mains < self.task.fs / 2

    def _noise(self, names: NDArray[np.str_], positions: Indices) -> Signal:
        """Noise in standard deviations: always the same at the same position of an example."""
        draws = [stream(self.seed, "skew", self.site, "record", name) for name in names.tolist()]
        starts = np.array([rng.integers(LOOP, size=self.task.leads) for rng in draws])
        in_loop = (starts[:, :, None] + positions[:, None, :]) % LOOP
        noise = np.float32(self.muscle) * _muscle_noise(self.seed, self.task.fs)[in_loop]
        if self._keeps_hum:
            phase = np.array([rng.random() for rng in draws])[:, None]
            wave = np.sin(2 * np.pi * (self.mains / self.task.fs * positions + phase))
            noise = noise + (self.hum * wave[:, None, :]).astype(np.float32)
        return noise


@lru_cache(maxsize=4)
def _muscle_noise(seed: int, fs: float) -> Signal:
    """Muscle noise at the frequencies that the task keeps, with standard deviation 1: (LOOP,)."""
    white = stream(seed, "skew", "muscle").standard_normal(LOOP).astype(np.float32)
    filtered = bandpass(white, fs, low=MUSCLE_FROM)
    return np.asarray(filtered / filtered.std(), dtype=np.float32)


def recorder_facts(
    skews: tuple[str, ...], task: Task, seed: int, sites: Iterable[str]
) -> dict[str, Faults]:
    """The faults of each site's recorder, by site; empty without skew."""
    recorders = {site: recorder_of(skews, task, seed, site) for site in sites}
    return {site: recorder.facts() for site, recorder in recorders.items() if recorder is not None}


def check_skews(skews: tuple[str, ...], task: Task) -> None:
    """`ConfigError` if a skew is unknown or cannot change anything in this task."""
    for name in skews:
        require_known(name, SKEWS, "--skew")
    if skews and task.padded:
        raise ConfigError(
            f"--skew names {skews[0]!r}, but examples of the {task.name} task are cut beats from 0 "
            "to 1 that end in zeros, not recordings. Accepted here: none; use --task rhythm, beat "
            "or mi-12lead."
        )
    if "leads" in skews and task.leads < len(LEADS):
        raise ConfigError(
            f"--skew names 'leads', but the {task.name} task reads one lead and cannot lose it. "
            f"Accepted here: {', '.join(name for name in SKEWS if name != 'leads')}."
        )


def recorder_of(skews: tuple[str, ...], task: Task, seed: int, site: str) -> SiteRecorder | None:
    """The site's recorder, drawn by the site's name; None without skew."""
    if not skews:
        return None
    faults: Faults = {}
    for name in skews:
        # Each fault has its own random stream, so that adding one does not change the others.
        faults |= SKEWS[name](stream(seed, "skew", site, name), task)
    return SiteRecorder(task=task, seed=seed, site=site, **faults)
