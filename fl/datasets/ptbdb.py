"""PTB Diagnostic ECG Database in its own layout: patients with a diagnosis, healthy controls."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from fl.datasets.base import Card
from fl.datasets.readers.challenge_records import age_years, comment_fields, sex_letter
from fl.datasets.readers.wfdb_signals import Waveform, read_waveform
from fl.datasets.record_discovery import data_files, find_stem, record_stems, require_records
from fl.ecg.labels import PTB_REASONS, UNKNOWN, label_vector
from fl.ecg.records import LEADS, Record
from fl.util.errors import UnusableRecord

_PATIENT = re.compile(r"patient\d{3}")


@dataclass(frozen=True, kw_only=True)
class PtbDiagnostic:
    """A folder with one subfolder for each patient; the Frank leads of a record are not read."""

    card: Card
    folder: str
    # Read signals that differ from their checksums. Not in the repr: see `Card.infarction`.
    ignore_checksums: bool = field(default=False, repr=False)

    def exists(self, root: Path) -> bool:
        return (root / self.folder).is_dir()

    def record_names(self, root: Path) -> list[str]:
        folder = root / self.folder
        expected = "patient001/s0010_re.hea with .dat, and so on"
        return require_records(self.card, folder, list(record_stems(folder)), expected)

    def files(self, root: Path) -> list[Path]:
        return data_files(root / self.folder)

    def read(self, root: Path, name: str) -> Record:
        patient = find_stem(root / self.folder, name).parent.name
        if not _PATIENT.fullmatch(patient):
            raise UnusableRecord(
                name, "label-conflict", "it is in no folder patient001, patient002, ..."
            )
        wave = self.waveform(root, name)
        fields = comment_fields(wave.comments)
        return Record(
            source=self.card.name,
            name=name,
            patient=patient,
            signal=wave.signal,
            leads=wave.leads,
            fs=wave.fs,
            notes=wave.notes,
            labels=label_vector((), self.card.annotates),
            age=age_years(fields.get("age", "")),
            sex=sex_letter(fields.get("sex", "")),
            infarction=PTB_REASONS.get(fields.get("reason for admission", "").lower(), UNKNOWN),
            unit=self.card.unit,
        )

    def waveform(self, root: Path, name: str) -> Waveform:
        """The signal, whatever its labels are."""
        stem = find_stem(root / self.folder, name)
        return read_waveform(
            stem,
            name=name,
            rates=self.card.rates,
            unit=self.card.unit,
            ignore_checksums=self.ignore_checksums,
        )


PTBDB = PtbDiagnostic(
    folder="ptbdb",
    card=Card(
        name="ptbdb",
        title="PTB Diagnostic ECG Database 1.0.0",
        leads=LEADS,
        rates=(1000.0,),
        annotates=(),
        mapping="None of the nine classes: its labels are clinical diagnoses of patients.",
        patients="Identified by the folder: 290 patients, of whom many have several records.",
        licence="ODC-By 1.0",
        citation=(
            "Bousseljot R, Kreiseler D, Schnabel A. Nutzung der EKG-Signaldatenbank CARDIODAT der "
            "PTB über das Internet. Biomed Tech 1995;40(s1):317. Goldberger AL, et al. PhysioBank, "
            "PhysioToolkit, and PhysioNet. Circulation 2000;101(23):e215-e220."
        ),
        url="https://physionet.org/content/ptbdb/1.0.0/",
        signal="The twelve leads of the .dat file; the Frank leads vx, vy, vz of the .xyz file are "
        "not read.",
        infarction=(
            "By the header's reason for admission. Infarction: `Myocardial infarction` (148 "
            "patients). None: `Healthy control` (52 patients). Left out: every other reason, or "
            "none (`no-infarction-label`)."
        ),
    ),
)
