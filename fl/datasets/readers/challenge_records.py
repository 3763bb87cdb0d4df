"""Reads folders in the format of the PhysioNet/CinC Challenges 2020 and 2021.

A record is a `.hea` file with a `.mat` (or `.dat`) file. Its diagnoses are in the header's
`#Dx:` line, as SNOMED CT codes or, in the first release of CPSC2018, as class names (Perez Alday
et al. 2020, 10.1088/1361-6579/abc960).
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fl.datasets.base import Card
from fl.datasets.readers.wfdb_signals import Waveform, read_waveform
from fl.datasets.record_discovery import data_files, find_stem, record_stems, require_records
from fl.ecg.labels import (
    CPSC_TEXT,
    RHYTHM_CLASSES,
    SNOMED,
    SNOMED_OPEN,
    UNKNOWN,
    is_snomed,
    label_vector,
    map_codes,
    open_classes,
)
from fl.ecg.records import Record
from fl.util.errors import DataError, UnusableRecord


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A data set in Challenge format. Patients are not identified: each record counts as one."""

    card: Card
    folder: str
    closed: bool = False  # True: every record has a class, and any other diagnosis is an error
    reference: str = ""  # path below the data folder of a list of ranked labels, if there is one
    # Of a record's codes, where the source says which patients have an infarction. Not in the
    # repr: see `Card.infarction`.
    infarction: Callable[[list[str]], int] | None = field(default=None, repr=False)
    # Read signals that differ from their checksums. Not in the repr: see `Card.infarction`.
    ignore_checksums: bool = field(default=False, repr=False)

    def exists(self, root: Path) -> bool:
        return (root / self.folder).is_dir()

    def record_names(self, root: Path) -> list[str]:
        folder = root / self.folder
        return require_records(
            self.card, folder, list(record_stems(folder)), "pairs of .hea and .mat"
        )

    def files(self, root: Path) -> list[Path]:
        reference = root / self.reference
        extra = {reference} if self.reference and reference.is_file() else set()
        return sorted(extra.union(data_files(root / self.folder)))

    def read(self, root: Path, name: str) -> Record:
        wave = self.waveform(root, name)
        fields = comment_fields(wave.comments)
        codes = [code.strip() for code in fields.get("dx", "").split(",") if code.strip()]
        classes = self._classes(name, codes)
        unknown = open_classes(codes, SNOMED_OPEN)
        return Record(
            source=self.card.name,
            name=name,
            patient=name,
            signal=wave.signal,
            leads=wave.leads,
            fs=wave.fs,
            notes=wave.notes,
            labels=label_vector(classes, set(self.card.annotates) - unknown),
            first_label=self._first_label(root, name, classes),
            age=age_years(fields.get("age", "")),
            sex=sex_letter(fields.get("sex", "")),
            infarction=self.infarction(codes) if self.infarction else UNKNOWN,
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

    def _classes(self, name: str, codes: list[str]) -> list[str]:
        """Classes that the diagnoses name, without those that the source does not annotate.

        There may be none: of a record with diagnoses, each annotated class is then known to be
        absent. `UnusableRecord` if there is no diagnosis, or one that the source cannot have given.
        """
        if not codes:
            raise UnusableRecord(name, "no-label", "no #Dx line, or an empty one")
        invalid = [c for c in codes if not self._is_valid(c)]
        if invalid:
            shown = repr(invalid[0][:20]) if invalid[0].isprintable() else "an unreadable code"
            kind = "class of the source" if self.closed else "SNOMED CT code"
            raise UnusableRecord(name, "no-label", f"{shown} is not a {kind}")
        return [c for c in map_codes(codes, SNOMED, CPSC_TEXT) if c in self.card.annotates]

    def _is_valid(self, code: str) -> bool:
        """Whether the source can have written this code: a damaged code must be noticed."""
        in_tables = code in SNOMED or code in CPSC_TEXT
        return in_tables or (not self.closed and is_snomed(code))

    def _first_label(self, root: Path, name: str, classes: list[str]) -> str:
        """The source's own first label; `UnusableRecord` if its list contradicts the header."""
        ranked = ranked_labels(root / self.reference).get(name, ()) if self.reference else ()
        if ranked and set(ranked) != set(classes):
            in_list, in_header = "+".join(ranked), "+".join(classes)
            raise UnusableRecord(
                name, "label-conflict", f"header {in_header}, reference list {in_list}"
            )
        return ranked[0] if ranked else ""


def comment_fields(comments: tuple[str, ...]) -> dict[str, str]:
    """`("Age: 74", "Dx: AF")` -> `{"age": "74", "dx": "AF"}`; a repeated field is joined."""
    fields: dict[str, str] = {}
    for comment in comments:
        key, colon, value = comment.partition(":")
        key = key.strip().lower()
        if colon:
            fields[key] = f"{fields[key]},{value.strip()}" if key in fields else value.strip()
    return fields


def age_years(text: str) -> float | None:
    """Age in years as headers write it; None for `NaN`, `Unknown`, `-1` and impossible ages."""
    try:
        age = float(text)
    except ValueError:
        return None
    return age if 0 <= age <= 120 else None


def sex_letter(text: str) -> str:
    """`F` or `M` from `Female`, `male`, `F`, ...; empty where unknown."""
    return {"f": "F", "female": "F", "m": "M", "male": "M"}.get(text.strip().lower(), "")


def ranked_labels(path: Path) -> dict[str, tuple[str, ...]]:
    """Labels of each record in CPSC2018's own order of importance; empty if there is no list.

    REFERENCE.csv has the columns Recording, First_label, Second_label and Third_label, with the
    classes numbered from 1. Raises DataError with the line that cannot be read.
    """
    if not path.is_file():
        return {}
    state = path.stat()
    return _ranked_labels(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _ranked_labels(path: Path, _changed: int, _size: int) -> dict[str, tuple[str, ...]]:
    table = {}
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if number > 1 and row:
                    table[row[0]] = tuple(RHYTHM_CLASSES[_rank(cell)] for cell in row[1:] if cell)
    except (OSError, ValueError, IndexError, csv.Error):
        raise DataError(
            f"{path}: line {number} cannot be read. Expected: a record and up to three class "
            f"numbers from 1 to {len(RHYTHM_CLASSES)}. Fetch the file again or remove it."
        ) from None
    return table


def _rank(cell: str) -> int:
    number = int(cell)
    if number < 1:
        raise ValueError(cell)
    return number - 1
