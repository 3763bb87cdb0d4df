"""Recordings of people who do not exist, so that everything runs before real data is at hand.

Each record is a function of the seed, the source's and its own name: any record can be drawn in
any order and in any process, and a larger cohort begins with the smaller one. What the model
leaves out is in the cohort's card: results on these records say that the software works and
nothing about medicine.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.datasets import ecg_simulator
from fl.datasets.base import Card
from fl.ecg.labels import RHYTHM_CLASSES, label_vector
from fl.ecg.records import LEADS, Annotations, Record
from fl.util.errors import UnusableRecord
from fl.util.random_streams import stream

Array = NDArray[np.float64]

# Records of CPSC2018's public set with each class, and with two classes. CPSC2018 does not
# publish which pairs occur; ours are those that a heart can have at once, rare classes first.
CPSC2018 = dict(zip(RHYTHM_CLASSES, (918, 1221, 722, 236, 1857, 616, 700, 869, 220), strict=True))
PAIRS: dict[tuple[str, ...], int] = {
    ("AF", "LBBB"): 28,
    ("AF", "PVC"): 16,
    ("AF", "RBBB"): 168,
    ("AF", "STD"): 35,
    ("IAVB", "LBBB"): 14,
    ("IAVB", "RBBB"): 30,
    ("IAVB", "PAC"): 16,
    ("RBBB", "PAC"): 75,
    ("RBBB", "PVC"): 50,
    ("PAC", "STD"): 14,
    ("PVC", "STD"): 22,
    ("PVC", "STE"): 8,
}


@dataclass(frozen=True)
class Device:
    """A hospital's recorder: what it does to a signal."""

    name: str
    share: float  # of the patients
    gain: float  # measured over true mV
    noise: float  # mV, muscle and amplifier
    wander: float  # mV, baseline
    hum: float  # mV, mains
    mains: float  # Hz
    loses_lead: float  # probability that a chest electrode is off


# share, gain, noise, wander, hum, mains, loses_lead
_TABLE = (
    (0.30, 1.00, 0.012, 0.08, 0.004, 50, 0.00),
    (0.22, 1.04, 0.022, 0.15, 0.010, 50, 0.01),
    (0.18, 0.95, 0.035, 0.12, 0.015, 50, 0.02),
    (0.14, 1.00, 0.020, 0.30, 0.006, 60, 0.02),
    (0.10, 1.08, 0.050, 0.20, 0.025, 60, 0.04),
    (0.06, 0.92, 0.060, 0.25, 0.040, 50, 0.08),
)
DEVICES = tuple(Device(f"device-{i}", *row) for i, row in enumerate(_TABLE, start=1))

BLOCK = 20  # records; one patient of each block has two of them


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A person who does not exist."""

    name: str
    labels: tuple[str, ...]
    age: float
    sex: str
    device: Device
    heart: ecg_simulator.Heart


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """A cohort of synthetic recordings; reads no file."""

    name: str
    leads: tuple[str, ...]
    n_records: int
    seed: int = 0
    seconds: tuple[float, float] = (10.0, 20.0)  # shortest and longest
    fs: float = 500.0  # Hz
    holter: bool = False  # worn while walking about: more noise and wander
    n_patients: int = 0  # 0: 19 for every 20 records
    noise: float = 1.0  # 0 takes all noise away, hum, wander and lost leads included

    @property
    def card(self) -> Card:
        worn = "two-lead Holter" if self.holter else f"{len(self.leads)}-lead"
        return Card(
            name=self.name,
            title=f"Synthetic {worn} recordings (no real patients)",
            leads=self.leads,
            rates=(self.fs,),
            annotates=RHYTHM_CLASSES,
            mapping="none: each record is drawn from its labels; mixed as CPSC2018's are",
            patients="synthetic ids; one record in ten belongs to a patient who has another one, "
            "unless --synthetic-patients says otherwise",
            licence="the project's own",
            citation="synthetic; waves after McSharry et al. 2003, 10.1109/TBME.2003.808805, "
            "leads after Dower et al. 1980, 10.1002/clc.1980.3.2.87",
            synthetic=True,
        )

    def found(self, root: Path) -> bool:
        """Always: nothing needs to be there."""
        return True

    def files(self, root: Path) -> list[Path]:
        """None."""
        return []

    def records(self, root: Path) -> list[str]:
        """`S00001`, `S00002`, ..."""
        return [f"S{number:05d}" for number in range(1, self.n_records + 1)]

    def read(self, root: Path, name: str) -> Record:
        """Draw one record; the same one every time."""
        patient = self.patient(self._index(name))
        heart, rng = patient.heart, stream(self.seed, self.name, name)
        seconds = rng.uniform(*self.seconds)
        n = round(seconds * self.fs)
        beats = ecg_simulator.beats(heart, seconds, rng)
        clean = heart.matrix @ ecg_simulator.dipole(heart, beats, n, self.fs, rng)
        signal = ecg_simulator.TWELVE @ self._recorded(clean, patient.device, rng)
        signal = signal[[LEADS.index(lead) for lead in self.leads]]
        if rng.random() < patient.device.loses_lead * self.noise:
            self._lose_lead(signal, rng)
        return Record(
            source=self.name,
            name=name,
            patient=patient.name,
            signal=signal.astype(np.float32),
            leads=self.leads,
            fs=self.fs,
            labels=label_vector(patient.labels, RHYTHM_CLASSES),
            annotations=self._annotations(heart, beats, n),
            first_label=patient.labels[0],
            group=patient.device.name,
            age=patient.age,
            sex=patient.sex,
        )

    def patient(self, index: int) -> Patient:
        """The patient of record number `index` (from 0)."""
        number = self._patient_number(index)
        name = f"P{number + 1:05d}"
        rng = stream(self.seed, self.name, name)
        labels = self._labels(number)
        sex = "F" if rng.random() < 0.46 else "M"
        usual, spread = (43, 15) if labels == ("NSR",) else (64, 13)
        return Patient(
            name=name,
            labels=labels,
            age=float(np.clip(np.rint(rng.normal(usual, spread)), 18, 95)),
            sex=sex,
            device=DEVICES[rng.choice(len(DEVICES), p=[device.share for device in DEVICES])],
            heart=ecg_simulator.heart(labels, sex, rng),
        )

    def _index(self, name: str) -> int:
        number = int(name[1:]) if name[:1] == "S" and name[1:].isdecimal() else 0
        if not 1 <= number <= self.n_records or name != f"S{number:05d}":
            known = f"{self.name} has S00001 to S{self.n_records:05d}"
            raise UnusableRecord(name, "missing-file", known)
        return number - 1

    def _patient_number(self, index: int) -> int:
        """Patients of a block of records are numbered in order; two records share one.

        A number of patients asked for has the records dealt to them in turn instead.
        """
        if self.n_patients:
            return index % self.n_patients
        block, place = divmod(index, BLOCK)
        first, second = sorted(
            stream(self.seed, self.name, "pair", block).choice(BLOCK, 2, replace=False)
        )
        if place == second:
            place = first
        return int(block * (BLOCK - 1) + place - (place > second))

    def _labels(self, number: int) -> tuple[str, ...]:
        """Labels dealt by a Kronecker sequence: every run of patients has nearly the right mix."""
        start = stream(self.seed, self.name, "labels").random()
        share = (start + number * (5**0.5 - 1) / 2) % 1
        return MIX[int(np.searchsorted(MIX_ENDS, share, side="right"))]

    def _recorded(self, clean: Array, device: Device, rng: np.random.Generator) -> Array:
        """What the device makes of leads I, II, V1..V6; the other leads follow from these."""
        channels, n = clean.shape
        t = np.arange(n) / self.fs
        level = self.noise * rng.lognormal(0, 0.35)
        restless = 1.6 if self.holter else 1.0
        muscle = _bursts(t, rng) * scipy.signal.lfilter(
            [1.0], [1.0, -0.6], rng.normal(size=(channels, n))
        )
        knots = np.arange(0, t[-1] + 2.5, 2.5)
        drift = rng.normal(size=(channels, len(knots)))
        breath = np.sin(2 * np.pi * (rng.uniform(0.18, 0.35) * t + rng.random()))
        wander = np.stack([_smooth(t, knots, row) for row in drift])
        wander += rng.normal(0, 0.5, (channels, 1)) * breath
        wander += _jolts(t, channels, rng)
        hum = rng.normal(0, 1, (channels, 1)) * np.sin(
            2 * np.pi * (device.mains * t + rng.random())
        )
        signal = clean + level * (
            restless * (0.8 * device.noise * muscle + device.wander * wander) + device.hum * hum
        )
        return np.asarray(device.gain * signal)

    def _lose_lead(self, signal: Array, rng: np.random.Generator) -> None:
        """A chest electrode is off: a flat line."""
        chest = [i for i, lead in enumerate(self.leads) if lead.startswith("V")]
        if chest:
            signal[rng.choice(chest)] = 0

    def _annotations(
        self, heart: ecg_simulator.Heart, beats: ecg_simulator.Beats, n: int
    ) -> Annotations:
        """The rhythm at the start, then each QRS at its peak."""
        at = np.rint((beats.onsets + ecg_simulator.peaks(heart, beats.kinds)) * self.fs)
        seen = (at >= 0) & (at < n)
        symbols = [heart.symbol if kind == "N" else str(kind) for kind in beats.kinds[seen]]
        return Annotations(
            samples=np.concatenate([[0], at[seen]]).astype(np.int64),
            symbols=("+", *symbols),
            rhythms=("(AFIB" if heart.fibrillates else "(N", *[""] * len(symbols)),
        )


def _mix() -> tuple[list[tuple[str, ...]], Array]:
    """Every set of labels, those of a rare class side by side, and where its share ends."""
    counts = dict(PAIRS)
    for c in RHYTHM_CLASSES:
        counts[(c,)] = CPSC2018[c] - sum(n for pair, n in PAIRS.items() if c in pair)
    mix = sorted(counts, key=lambda labels: labels[::-1])
    ends = np.cumsum([counts[labels] for labels in mix], dtype=np.float64)
    return mix, ends / ends[-1]


MIX, MIX_ENDS = _mix()


def _bursts(t: Array, rng: np.random.Generator) -> Array:
    """Muscle noise comes and goes: a factor of about 1 over time."""
    knots = np.arange(0, t[-1] + 1, 1.0)
    return np.asarray(np.interp(t, knots, rng.lognormal(-0.1, 0.4, len(knots))))


def _jolts(t: Array, channels: int, rng: np.random.Generator) -> Array:
    """An electrode is touched now and then, which may look like a beat: (channel, sample)."""
    moved = np.zeros((channels, len(t)))
    for _ in range(rng.poisson(0.08 * t[-1])):
        at, width = rng.uniform(0, t[-1]), rng.uniform(0.02, 0.12)
        height = rng.normal(0, 2.5, channels) * (rng.random(channels) < 0.4)
        moved += np.outer(height, np.exp(-0.5 * ((t - at) / width) ** 2))
    return moved


def _smooth(t: Array, knots: Array, values: Array) -> Array:
    """Values at `t` of a curve through the knots, with rounded corners."""
    place = np.interp(t, knots, np.arange(len(knots)))
    left = np.minimum(place.astype(np.int64), len(knots) - 2)
    share = place - left
    share = share * share * (3 - 2 * share)
    return np.asarray(values[left] * (1 - share) + values[left + 1] * share)


SYNTHETIC = Synthetic(name="synthetic", leads=LEADS, n_records=800)
SYNTHETIC_HOLTER = replace(
    SYNTHETIC, name="synthetic-2lead", leads=("II", "V1"), n_records=400, fs=360.0, holter=True
)
