"""Converts recordings to WFDB records with pseudonyms, and begins their table of labels."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.exports.conversion.identity import (
    KEY_FILE,
    identity_of,
    names_the_patient,
    pseudonym,
    pseudonym_key,
)
from fl.datasets.readers.exports.conversion.table_skeleton import (
    COLUMNS,
    TABLE,
    existing_rows,
    write_row,
)
from fl.datasets.readers.exports.formats.content import without_suffix
from fl.datasets.readers.exports.formats.recording import Recording, read_recording
from fl.util.errors import ConfigError, DataError

USUAL_STEP = 0.001  # mV: of recordings whose own step is not known
# Largest number of each format; the smallest number means a missing sample.
_LARGEST = {"16": 2**15 - 1, "32": 2**31 - 1}


@dataclass(kw_only=True)
class Summary:
    """What one conversion did."""

    written: int = 0
    failed: int = 0
    renamed: int = 0  # names of files had a part of the patient's id, name or birth date
    numbered: int = 0  # names of files were those of others
    without_patient: int = 0  # files that name no patient
    patients: set[str] = field(default_factory=set)
    leads_left_out: dict[str, int] = field(default_factory=dict)  # records, by lead's name
    derived: int = 0  # records to which leads were added that follow from I and II
    notes: dict[str, int] = field(default_factory=dict)  # records, by what is to note of them

    def sentences(self, folder: Path) -> Iterator[str]:
        """The summary in lines that name no patient."""
        yield (
            f"{self.written} of {self.written + self.failed} recordings written to {folder}, of "
            f"{len(self.patients)} patients. Fill in the column labels of {folder / TABLE}"
        )
        if self.without_patient:
            yield (
                f"{self.without_patient} name no patient: complete the column patient of "
                f"{folder / TABLE}"
            )
        if self.renamed:
            yield (
                f"{self.renamed} had a part of the patient's name, id or birth date in the file "
                "name; these are called ecg-00001 and so on, in the order given"
            )
        if self.numbered:
            yield f"{self.numbered} had the name of another file, and got a number after it"
        if self.derived:
            yield f"{self.derived} store eight leads: III, aVR, aVL, aVF are computed from I and II"
        for lead, count in sorted(self.leads_left_out.items()):
            yield f"left out of {count}: {lead}, which is none of the twelve leads"
        for note, count in sorted(self.notes.items()):
            yield f"of {count}: {note}"
        yield (
            f"{folder / KEY_FILE} makes the pseudonyms: keep it in the hospital, or delete it if "
            "no recordings will be added"
        )


def convert(
    paths: Sequence[Path],
    folder: Path,
    read_table: Callable[[Path, str], Recording | None],
    on_error: Callable[[str], None],
) -> Summary:
    """Write each file as a WFDB record into `folder`, and a line of its labels.csv.

    `read_table` reads a file as a table of samples, or gives None if it is none. A file that
    cannot be converted costs itself alone: `on_error` gets one line of it. Raises ConfigError if
    the folder cannot be used.
    """
    columns, rows = existing_rows(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be made ({error.strerror}).") from None
    key, summary = pseudonym_key(folder), Summary()
    there = {row["record"] for row in rows} | {p.stem for p in folder.glob("*.hea")}
    names = _Names(before=there)
    for path in paths:
        try:
            row = _convert_one(path, folder, read_table, key, names, summary)
        except DataError as error:
            # The error begins with the record's name, which the path has too.
            on_error(f"{path}: {str(error).removeprefix(f'{path}: ')}")
            summary.failed += 1
        except OSError as error:
            raise ConfigError(f"--out {folder}: cannot be written ({error.strerror}).") from None
        else:
            write_row(folder, columns, row)
    return summary


@dataclass(kw_only=True)
class _Names:
    """Names of records: those that were there before, and those given since."""

    before: set[str]
    given: set[str] = field(default_factory=set)

    def give(self, wanted: str, folder: Path) -> str:
        """The wanted name, with a number if another file of this conversion has it."""
        if wanted in self.before:
            raise DataError(
                f"a record {wanted} is in {folder} already. Remove it, or use a new folder."
            )
        name, number = wanted, 1
        while name in self.given or name in self.before:
            number += 1
            name = f"{wanted}-{number}"
        self.given.add(name)
        return name

    def number(self) -> str:
        """A name that says nothing: ecg-00001, ecg-00002, ..."""
        place = 1
        while (name := f"ecg-{place:05d}") in self.given | self.before:
            place += 1
        self.given.add(name)
        return name


def _convert_one(
    path: Path,
    folder: Path,
    read_table: Callable[[Path, str], Recording | None],
    key: bytes,
    names: _Names,
    summary: Summary,
) -> dict[str, str]:
    """Write one file, and return its line of the table."""
    recording, identity = read_table(path, path.name), None
    own = path.stem
    if recording is None:
        recording, parsed = read_recording(path, path.name)
        identity, own = identity_of(parsed), without_suffix(path.name)
    recording.waveform()  # raises the verdict of a recording without a usable lead
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", own).strip("-")
    hidden = identity is not None and names_the_patient(own, identity)
    name = names.number() if hidden or not plain else names.give(plain, folder)
    _write(recording, name, folder)
    summary.written += 1
    summary.renamed += hidden
    summary.numbered += not hidden and name != plain
    summary.derived += bool(recording.derived)
    for lead in recording.unknown:
        summary.leads_left_out[lead] = summary.leads_left_out.get(lead, 0) + 1
    for note in recording.notes:
        summary.notes[note] = summary.notes.get(note, 0) + 1
    patient = pseudonym(identity, key) if identity else ""
    if patient:
        summary.patients.add(patient)
    else:
        summary.without_patient += 1
    age = "" if identity is None or identity.age is None else str(identity.age)
    sex = identity.sex if identity else ""
    return dict(zip(COLUMNS, (name, patient, "", "", age, sex), strict=True))


def _write(recording: Recording, name: str, folder: Path) -> None:
    """Write the leads, exact to one step of the recorder; missing samples stay missing."""
    steps = [recording.steps[lead] or USUAL_STEP for lead in recording.signals]
    scaled = [signal / s for signal, s in zip(recording.signals.values(), steps, strict=True)]
    largest = max(float(np.nanmax(np.abs(values))) for values in scaled)
    form = "16" if largest < _LARGEST["16"] else "32"
    if largest >= _LARGEST["32"]:
        raise DataError(f"its values need more than 32 bits at its own step of {min(steps):g} mV.")
    numbers = np.stack([_integers(values, form) for values in scaled], axis=1)
    wfdb_access.call(
        "wrsamp",
        name,
        fs=recording.fs,
        units=["mV"] * len(steps),
        sig_name=list(recording.signals),
        d_signal=numbers,
        fmt=[form] * len(steps),
        adc_gain=[1 / step for step in steps],
        baseline=[0] * len(steps),
        write_dir=str(folder),
    )


def _integers(values: NDArray[np.float64], form: str) -> NDArray[np.int64]:
    missing = -_LARGEST[form] - 1
    return np.where(np.isfinite(values), np.rint(np.nan_to_num(values)), missing).astype(np.int64)
