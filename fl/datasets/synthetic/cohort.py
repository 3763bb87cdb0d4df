"""The synthetic cohorts: simulated patients, and the recordings of each.

Each record depends only on the seed, the name of the source and its own name. Records can
therefore be made in any order and in any process, and a larger cohort begins with the smaller one.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fl.datasets.base import Card
from fl.datasets.synthetic.devices import DEVICES, Device, with_noise
from fl.datasets.synthetic.dipole import dipole, qrs_peaks
from fl.datasets.synthetic.heart import TWELVE, Array, Heart, make_heart
from fl.datasets.synthetic.infarction import SHARE, with_infarction
from fl.datasets.synthetic.label_mix import labels_at
from fl.datasets.synthetic.rhythm import Beats, make_beats
from fl.ecg.labels import RHYTHM_CLASSES, UNKNOWN, label_vector
from fl.ecg.records import LEADS, Annotations, Record
from fl.util.errors import UnusableRecord
from fl.util.random_streams import stream

BLOCK = 20  # records; one patient of each block has two of them


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A person who does not exist."""

    name: str
    labels: tuple[str, ...]
    age: float  # years
    sex: str  # F or M
    device: Device
    heart: Heart
    infarction: int = UNKNOWN  # 1 or 0 in a cohort with infarctions


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """A data set of synthetic recordings, which reads no file."""

    name: str
    leads: tuple[str, ...]
    n_records: int
    seed: int = 0
    seconds: tuple[float, float] = (10.0, 20.0)  # shortest and longest recording
    fs: float = 500.0  # Hz
    holter: bool = False  # worn while walking about: more noise and wander
    n_patients: int = 0  # 0: 19 for every 20 records
    noise: float = 1.0  # multiplies noise, hum, wander and the chance of a lost lead
    # True: healthy patients and patients with an infarction instead of CPSC2018's mix. Not in the
    # repr, from which the cache folders of the other tasks have their names.
    infarction: bool = field(default=False, repr=False)

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
            lead_two="II",
            synthetic=True,
            infarction=f"Under the infarction tasks {SHARE:.0%} of the patients have one, acute or "
            "old, of the anterior, inferior or lateral wall; the others are healthy.",
        )

    def exists(self, root: Path) -> bool:
        """Always true, because no files are needed."""
        return True

    def files(self, root: Path) -> list[Path]:
        """None."""
        return []

    def record_names(self, root: Path) -> list[str]:
        """`S00001`, `S00002`, ..."""
        return [f"S{number:05d}" for number in range(1, self.n_records + 1)]

    def read(self, root: Path, name: str) -> Record:
        """Make one record, the same every time; `UnusableRecord` if there is no such name."""
        patient = self.patient(self._index(name))
        heart, rng = patient.heart, stream(self.seed, self.name, name)
        seconds = rng.uniform(*self.seconds)
        n = round(seconds * self.fs)
        beats = self._make_beats(heart, seconds, rng)
        clean = heart.matrix @ dipole(heart, beats, n, self.fs, rng)
        recorded = with_noise(
            patient.device, clean, self.fs, level=self.noise, holter=self.holter, rng=rng
        )
        signal = (TWELVE @ recorded)[[LEADS.index(lead) for lead in self.leads]]
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
            annotations=_annotations(heart, beats, n, self.fs),
            first_label=patient.labels[0] if patient.labels else "",
            group=patient.device.name,
            age=patient.age,
            sex=patient.sex,
            infarction=patient.infarction,
        )

    def patient(self, index: int) -> Patient:
        """The patient of record number `index` (from 0)."""
        number = self._patient_number(index)
        name = f"P{number + 1:05d}"
        rng = stream(self.seed, self.name, name)
        infarction = self._infarction(number)
        labels = self._labels(number) if infarction == UNKNOWN else ("NSR",)[infarction:]
        sex = "F" if rng.random() < 0.46 else "M"
        mean_age, spread = (43, 15) if labels == ("NSR",) else (64, 13)
        patient = Patient(
            name=name,
            labels=labels,
            age=float(np.clip(np.rint(rng.normal(mean_age, spread)), 18, 95)),
            sex=sex,
            device=DEVICES[rng.choice(len(DEVICES), p=[device.share for device in DEVICES])],
            heart=make_heart(labels, sex, rng),
            infarction=infarction,
        )
        if infarction != 1:
            return patient
        return replace(patient, heart=with_infarction(patient.heart, rng))

    def _make_beats(self, heart: Heart, seconds: float, rng: np.random.Generator) -> Beats:
        """The beats of one recording of a patient with this heart."""
        return make_beats(heart, seconds, rng)

    def _index(self, name: str) -> int:
        number = int(name[1:]) if name[:1] == "S" and name[1:].isdecimal() else 0
        if not 1 <= number <= self.n_records or name != f"S{number:05d}":
            known = f"{self.name} has S00001 to S{self.n_records:05d}"
            raise UnusableRecord(name, "missing-file", known)
        return number - 1

    def _patient_number(self, index: int) -> int:
        """Number of the patient of a record: two records of each block share a patient.

        If `n_patients` is given, patients have records in turn instead.
        """
        if self.n_patients:
            return index % self.n_patients
        block, in_block = divmod(index, BLOCK)
        first, second = sorted(
            stream(self.seed, self.name, "pair", block).choice(BLOCK, 2, replace=False)
        )
        if in_block == second:
            in_block = first
        return int(block * (BLOCK - 1) + in_block - (in_block > second))

    def _infarction(self, number: int) -> int:
        """Whether a patient has an infarction, by a Kronecker sequence as for the labels."""
        if not self.infarction:
            return UNKNOWN
        start = stream(self.seed, self.name, "infarction").random()
        return int((start + number * (5**0.5 - 1) / 2) % 1 < SHARE)

    def _labels(self, number: int) -> tuple[str, ...]:
        """Labels by a Kronecker sequence, so that any run of patients has nearly the right mix."""
        start = stream(self.seed, self.name, "labels").random()
        return labels_at((start + number * (5**0.5 - 1) / 2) % 1)

    def _lose_lead(self, signal: Array, rng: np.random.Generator) -> None:
        """Make one chest lead a flat line, in place: its electrode is off."""
        chest = [i for i, lead in enumerate(self.leads) if lead.startswith("V")]
        if chest:
            signal[rng.choice(chest)] = 0


def _annotations(heart: Heart, beats: Beats, n: int, fs: float) -> Annotations:
    """The rhythm at the start, then each QRS at its peak, in a recording of `n` samples."""
    peaks = np.rint((beats.onsets + qrs_peaks(heart, beats.kinds)) * fs)
    inside = (peaks >= 0) & (peaks < n)
    symbols = [heart.symbol if kind == "N" else str(kind) for kind in beats.kinds[inside]]
    return Annotations(
        samples=np.concatenate([[0], peaks[inside]]).astype(np.int64),
        symbols=("+", *symbols),
        rhythms=("(AFIB" if heart.fibrillates else "(N", *[""] * len(symbols)),
    )


SYNTHETIC = Synthetic(name="synthetic", leads=LEADS, n_records=800)
SYNTHETIC_HOLTER = replace(
    SYNTHETIC, name="synthetic-2lead", leads=("II", "V1"), n_records=400, fs=360.0, holter=True
)
