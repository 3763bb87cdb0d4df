"""Feature skew: each site records with a device of its own, whatever its patients have.

A device acts on the cached signal when a site's batch is cut, so after resampling, filtering and
z-scoring; no second copy of the data is made. What those steps would have removed is not put
back: docs/partitions.md says what is left of each fault.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Indices
from fl.ecg.filters import bandpass, resample
from fl.ecg.records import LEADS
from fl.ecg.tasks import Task
from fl.util.errors import ConfigError, require_known
from fl.util.random_streams import stream

Signal = NDArray[np.float32]
Faults = dict[str, Any]

MUSCLE = (0.05, 0.4)  # standard deviation of muscle noise, in those of the lead
MUSCLE_FROM = 20.0  # Hz; below it there is little of it
HUM = (0.05, 0.4)  # amplitude of mains hum, likewise
MAINS = (50.0, 60.0)  # Hz
RAILS = (1.5, 4.0)  # where an amplifier saturates, in standard deviations of the lead
RATES = (25.0, 30.0, 40.0, 50.0)  # Hz of a slow recorder
LOOP = 4096  # samples of muscle noise; each recording enters it at a place of its own


def noise(rng: np.random.Generator, task: Task) -> Faults:
    """Muscle noise and mains hum, each of the site's own strength."""
    return {
        "muscle": round(rng.uniform(*MUSCLE), 3),
        "hum": round(rng.uniform(*HUM), 3),
        "mains": float(rng.choice(MAINS)),
    }


def gain(rng: np.random.Generator, task: Task) -> Faults:
    """So much gain that tall waves are cut off."""
    return {"rails": round(rng.uniform(*RAILS), 2)}


def leads(rng: np.random.Generator, task: Task) -> Faults:
    """One lead to half of them not delivered."""
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
    """The recorder of one site. Its fields say what is wrong with it."""

    task: Task
    seed: int
    site: str
    muscle: float = 0.0  # standard deviation, in those of the lead
    hum: float = 0.0  # amplitude, likewise
    mains: float = 50.0  # Hz
    rails: float = 0.0  # standard deviations of the lead; 0: never saturates
    lost: tuple[int, ...] = ()  # leads not delivered
    rate: float = 0.0  # Hz; 0: the task's own

    def leads(self, recorded: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """All but the lost leads; an example that would have none keeps its first."""
        left = recorded.copy()
        left[:, list(self.lost)] = False
        empty = ~left.any(axis=1)
        first = recorded & (recorded.cumsum(axis=1) == 1)
        left[empty] = first[empty]
        return left

    def signal(self, signal: Signal, names: NDArray[np.str_], at: Indices) -> Signal:
        """Noise, then saturation, then the lower rate; each lead keeps the spread it had.

        That is what z-scoring leaves of a change in amplitude. A lead that is not there stays
        zero.
        """
        spread = signal.std(axis=-1, keepdims=True)
        made = signal
        if self.muscle or self.hum:
            made = made + spread * self._noise(names, at)
        if self.rails:
            made = made.clip(-self.rails * spread, self.rails * spread)
        if self.rate:
            low = resample(made, self.task.fs, self.rate)
            made = resample(low, self.rate, self.task.fs)[..., : signal.shape[-1]]
        now = made.std(axis=-1, keepdims=True)
        return np.asarray(made * (spread / np.where(now > 0, now, 1.0)), dtype=np.float32)

    def facts(self) -> Faults:
        """What is wrong with it, for run.json."""
        faults = {name: getattr(self, name) for name in ("muscle", "rails", "rate")}
        if self.hum and self._hum_is_left:
            faults |= {"hum": self.hum, "mains": self.mains}
        faults["lost"] = [LEADS[lead] for lead in self.lost]
        return {name: value for name, value in faults.items() if value}

    @property
    def _hum_is_left(self) -> bool:
        # At half the sampling rate and above it has been filtered out with the rest.
        return self.mains < self.task.fs / 2

    def _noise(self, names: NDArray[np.str_], at: Indices) -> Signal:
        """In standard deviations: the same at the same place of the same example."""
        draws = [stream(self.seed, "skew", self.site, "record", name) for name in names.tolist()]
        entry = np.array([rng.integers(LOOP, size=self.task.leads) for rng in draws])
        places = (entry[:, :, None] + at[:, None, :]) % LOOP
        made = np.float32(self.muscle) * _muscle_noise(self.seed, self.task.fs)[places]
        if self._hum_is_left:
            phase = np.array([rng.random() for rng in draws])[:, None]
            wave = np.sin(2 * np.pi * (self.mains / self.task.fs * at + phase))
            made = made + (self.hum * wave[:, None, :]).astype(np.float32)
        return made


@lru_cache(maxsize=4)
def _muscle_noise(seed: int, fs: float) -> Signal:
    """Noise in the part of muscle's band that the task keeps, of standard deviation 1."""
    white = stream(seed, "skew", "muscle").standard_normal(LOOP).astype(np.float32)
    made = bandpass(white, fs, low=MUSCLE_FROM)
    return np.asarray(made / made.std(), dtype=np.float32)


def recorder_facts(
    skews: tuple[str, ...], task: Task, seed: int, sites: Iterable[str]
) -> dict[str, Faults]:
    """What is wrong with the device of each site; empty without skew."""
    devices = {site: recorder_of(skews, task, seed, site) for site in sites}
    return {site: device.facts() for site, device in devices.items() if device is not None}


def check_skews(skews: tuple[str, ...], task: Task) -> None:
    """`ConfigError` if one is not known, or can do nothing to this task."""
    for name in skews:
        require_known(name, SKEWS, "--skew")
    if "leads" in skews and task.leads < len(LEADS):
        raise ConfigError(
            f"--skew names 'leads', but the {task.name} task reads one lead and can lose none. "
            f"Accepted here: {', '.join(name for name in SKEWS if name != 'leads')}."
        )


def recorder_of(skews: tuple[str, ...], task: Task, seed: int, site: str) -> SiteRecorder | None:
    """The site's device, drawn by its name; None without skew."""
    if not skews:
        return None
    faults: Faults = {}
    for name in skews:
        # A stream for each, so that one more fault leaves the others as they are.
        faults |= SKEWS[name](stream(seed, "skew", site, name), task)
    return SiteRecorder(task=task, seed=seed, site=site, **faults)
