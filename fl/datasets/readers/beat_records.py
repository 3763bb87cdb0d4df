"""Reads folders of WFDB records in which every beat is annotated (`.hea`, `.dat`, `.atr`)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fl.datasets.base import Card
from fl.datasets.readers.beat_annotations import beat_annotations, has_annotations
from fl.datasets.readers.wfdb_signals import Waveform, read_waveform
from fl.datasets.record_discovery import data_files, find_stem, record_stems, require_records
from fl.ecg.records import Record
from fl.util.errors import DataError

# `patient 7`, `Patient: p-7`, `patient id = 7`: a number is needed, so that a sentence about a
# patient is not taken for a name.
_PATIENT = re.compile(r"patient(?:\s+id)?\s*[:=]?\s*([\w-]*\d[\w-]*)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Person:
    """What a record's header says about the person. Empty or None where it says nothing."""

    patient: str = ""  # id, unique within the source
    group: str = ""  # recorder
    age: float | None = None  # years
    sex: str = ""  # "F" or "M"


@dataclass(frozen=True, kw_only=True)
class BeatRecords:
    """A data set of half-hour recordings with annotated beats."""

    card: Card
    folders: tuple[str, ...]  # names it may have below the data folder; the first found is read
    # Of a record's name and header comments. Not in the repr, from which the cache folder has its
    # name: a function's repr differs in every process, and the folder would be made every time.
    person: Callable[[str, Sequence[str]], Person] = field(repr=False)
    names_patients: bool  # whether `person` can know that two records are of one patient
    # Read signals that differ from their checksums. Not in the repr: see `Card.infarction`.
    ignore_checksums: bool = field(default=False, repr=False)

    def folder(self, root: Path) -> Path:
        """The folder with the records; the first of the accepted names if there is none."""
        paths = [root / name for name in self.folders]
        return next((path for path in paths if path.is_dir()), paths[0])

    def exists(self, root: Path) -> bool:
        return self.folder(root).is_dir()

    def record_names(self, root: Path) -> list[str]:
        folder = self.folder(root)
        stems = record_stems(folder)
        names = require_records(self.card, folder, list(stems), ".hea, .dat and .atr files")
        if not any(map(has_annotations, stems.values())):
            raise DataError(
                f"{folder}: {len(names)} records and no .atr file. {self.card.title} is expected "
                "there with its beat annotations. Is this another form of it? The Challenge's copy "
                "of INCART, for instance, is the source incart-challenge, in a folder of that name."
            )
        return names

    def files(self, root: Path) -> list[Path]:
        return data_files(self.folder(root))

    def read(self, root: Path, name: str) -> Record:
        wave = self.waveform(root, name)
        person = self.person(name, wave.comments)
        return Record(
            source=self.card.name,
            name=name,
            patient=person.patient or name,
            signal=wave.signal,
            leads=wave.leads,
            fs=wave.fs,
            notes=wave.notes,
            labels=None,
            annotations=beat_annotations(find_stem(self.folder(root), name), name, wave),
            group=person.group,
            age=person.age,
            sex=person.sex,
            unit=self.card.unit,
        )

    def waveform(self, root: Path, name: str) -> Waveform:
        """The signal, whatever its annotations are."""
        stem = find_stem(self.folder(root), name)
        card = self.card
        return read_waveform(
            stem,
            name=name,
            rates=card.rates,
            unit=card.unit,
            lead_two=card.lead_two,
            ignore_checksums=self.ignore_checksums,
        )

    def lacks_patient(self, record: Record) -> bool:
        """Whether the record should name its patient and does not, and so counts as one."""
        return self.names_patients and record.patient == record.name


def stated_patient(comments: Sequence[str]) -> str:
    """The patient that a header's comments name: `("patient 7",)` -> `7`.

    Empty if there is none, or if two are named.
    """
    found = {match[1] for text in comments if (match := _PATIENT.fullmatch(text.strip()))}
    return found.pop() if len(found) == 1 else ""
