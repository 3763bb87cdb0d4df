"""A hospital's own folder: recordings with a table of labels, annotated beats, or both.

A recording is a WFDB record, or a file in a format of `fl.datasets.readers.exports.formats`, which
is recognised by its content. The patient's fields of such a file are not read: the table names the
patient.

For the beat tasks, records have their annotated beats in `.atr` files. Without a table, the patient
of a record is the one that its header names (`# patient 7`), else the record counts as a patient of
its own. A table, if there is one, lists every record.

`labels.csv` has the columns `record`, `patient` and `labels` (class names or SNOMED CT codes,
separated by `;` or `|`; codes of other diagnoses are allowed). It may have `age`, `sex`, `group`
(device, ward) and `annotated`: the classes that were looked for in this record, which are all nine
if the cell is empty. An empty `labels` cell means that none was found if `annotated` is filled,
and that nothing is known if it is empty too. Where there are `.atr` files, the column `labels` may
be left out.

For the infarction tasks, `labels` may have `MI` (or the SNOMED CT code of an infarction) or `NORM`
(a normal recording, without infarction), and `annotated` may have `MI`: a record without it then
has none. `MI` and `NORM` say nothing about the nine classes of the rhythm task.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.config.run_config import RESERVED_NAMES
from fl.datasets import DATASETS
from fl.datasets.base import Card, Source
from fl.datasets.readers.beat_annotations import beat_annotations, has_annotations
from fl.datasets.readers.beat_records import stated_patient
from fl.datasets.readers.challenge_records import age_years, sex_letter
from fl.datasets.readers.exports.formats.content import without_suffix
from fl.datasets.readers.exports.formats.discovery import hospital_file, hospital_files
from fl.datasets.readers.exports.formats.recording import read_hospital_file
from fl.datasets.readers.wfdb_signals import Waveform, read_waveform
from fl.datasets.record_discovery import data_files, record_stems, require_records
from fl.ecg.labels import (
    CPSC_TEXT,
    RHYTHM_CLASSES,
    SNOMED,
    SNOMED_INFARCTION,
    SNOMED_OPEN,
    UNKNOWN,
    is_snomed,
    label_vector,
    open_classes,
)
from fl.ecg.records import LEADS, Annotations, Record
from fl.util.errors import ConfigError, DataError, UnusableRecord

TABLE = "labels.csv"
_REQUIRED = ("record", "patient", "labels")
_OPTIONAL = ("age", "sex", "group", "annotated")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_RECORD = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")  # no `..`, no absolute path
_CODES_OF_TABLE = (
    f"{TABLE}: class names or SNOMED CT codes, as its owner wrote them; the column `annotated`, if "
    "there is one, lists the classes that were looked for. Records with none of the classes are "
    "used: each class that was looked for is absent. Beats as in .atr files."
)
_PATIENTS_OF_TABLE = f"Identified by the column `patient` of {TABLE}."
_PATIENTS_OF_HEADERS = (
    "Identified by the header's comment `patient 7`; a record whose header names none, or two, "
    "counts as a patient of its own."
)
_INFARCTIONS = (
    f"{TABLE}: `MI` or an infarction's SNOMED CT code among the labels; none: `NORM` among them, "
    "or `MI` in the column `annotated` alone. Left out: every other record (`no-infarction-label`)."
)
MI, NORM = "MI", "NORM"
_KNOWN = {**{c: c for c in RHYTHM_CLASSES}, **CPSC_TEXT, **SNOMED}


@dataclass(frozen=True, kw_only=True)
class OwnFolder:
    """A data set in a folder that its owner names, outside the data folder."""

    name: str
    path: str
    # Read signals that differ from their checksums. Not in the repr: see `Card.infarction`.
    ignore_checksums: bool = field(default=False, repr=False)

    @property
    def card(self) -> Card:
        table = (Path(self.path) / TABLE).is_file()
        return Card(
            name=self.name,
            title=f"The folder {self.path}",
            leads=LEADS,
            rates=(),
            annotates=RHYTHM_CLASSES if table else (),
            mapping=_CODES_OF_TABLE if table else "Beat annotations (.atr) alone.",
            patients=_PATIENTS_OF_TABLE if table else _PATIENTS_OF_HEADERS,
            licence="The owner's.",
            citation="",
            lead_two="II",
            signal="Lead II by its name in the header: II, MLII or ML2.",
            infarction=_INFARCTIONS if table else "",
        )

    def exists(self, root: Path) -> bool:
        return Path(self.path).is_dir()

    def record_names(self, root: Path) -> list[str]:
        folder = Path(self.path)
        stems = record_stems(folder).values()
        annotated = {s.relative_to(folder).as_posix(): has_annotations(s) for s in stems}
        annotated |= {n: has_annotations(folder / n) for n in hospital_files(folder)}
        rows = _rows(folder)
        if rows is None and not any(annotated.values()):
            columns = ", ".join(_REQUIRED)
            raise DataError(
                f"{folder / TABLE}: no such file. Make one with the columns {columns}, or put "
                "beat annotations beside the records, as .atr files."
            )
        # A record that has beats and is not in the table is counted as unusable.
        unlisted = (name for name, beats in annotated.items() if beats or rows is None)
        names = {*(rows or ()), *unlisted}
        return require_records(
            self.card, folder, list(names), f"{TABLE} with pairs of .hea and .dat"
        )

    def files(self, root: Path) -> list[Path]:
        folder = Path(self.path)
        others = (path for paths in hospital_files(folder).values() for path in paths)
        return sorted({*data_files(folder), *others})

    def read(self, root: Path, name: str) -> Record:
        row, stem = self._row(name), Path(self.path) / name
        codes, labels = _labels(name, row, beats=has_annotations(stem))
        infarction = _infarction(name, row)
        wave = self.waveform(root, name)
        return Record(
            source=self.name,
            name=name,
            patient=row["patient"] or stated_patient(wave.comments) or name,
            signal=wave.signal,
            leads=wave.leads,
            fs=wave.fs,
            notes=wave.notes,
            labels=labels,
            annotations=_annotations(
                stem, name, wave, needed=infarction == UNKNOWN and not (labels >= 0).any()
            ),
            first_label=codes[0] if codes else "",
            group=row["group"],
            age=age_years(row["age"]),
            sex=sex_letter(row["sex"]),
            infarction=infarction,
        )

    def _row(self, name: str) -> dict[str, str]:
        """The record's line of the table; empty cells if there is no table."""
        rows = _rows(Path(self.path))
        if rows is None:
            return dict.fromkeys(_REQUIRED + _OPTIONAL, "")
        if name not in rows:
            raise UnusableRecord(name, "missing-file", f"not in {TABLE}")
        return rows[name]

    def waveform(self, root: Path, name: str) -> Waveform:
        """The signal, whatever its labels are."""
        file = hospital_file(Path(self.path), name)
        if file is not None:
            return read_hospital_file(file, name, self.ignore_checksums)
        return read_waveform(
            Path(self.path) / name,
            name=name,
            rates=(),
            unit="mV",
            ignore_checksums=self.ignore_checksums,
        )

    def lacks_patient(self, record: Record) -> bool:
        """Whether neither the table nor the header names the patient, so that it counts as one."""
        return record.patient == record.name and _rows(Path(self.path)) is None


def parse_source(text: str) -> Source:
    """The data set in the folder that `mysite=PATH` names on the command line.

    Raises ConfigError if the name or the folder cannot be used.
    """
    name, equals, path = (part.strip() for part in text.partition("="))
    if not equals or not path:
        raise ConfigError(
            f"sources has {text!r}. Accepted: a name ({', '.join(sorted(DATASETS))}) or "
            "mysite=FOLDER for a folder of your own."
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"sources has the name {name!r}. Accepted: small letters, digits, - and _, "
            "beginning with a letter."
        )
    if name in RESERVED_NAMES:
        taken = ", ".join(sorted(RESERVED_NAMES))
        raise ConfigError(
            f"sources has the name {name!r}, which results use for something else ({taken}). "
            "Rename it."
        )
    if name in DATASETS:
        raise ConfigError(
            f"sources names a folder {name}, but {name} is a known data set. Use another name."
        )
    if not Path(path).expanduser().is_dir():
        raise ConfigError(
            f"sources names the folder {path} for {name}, which does not exist. Correct the path."
        )
    return OwnFolder(name=name, path=str(Path(path).expanduser().absolute()))


def _labels(name: str, row: dict[str, str], beats: bool) -> tuple[list[str], NDArray[np.int8]]:
    """Classes that the table names for a record, in its order, and its labels: (class,).

    Without a label every class is unknown, which is allowed if the record has annotated beats.
    """
    codes = [code for code in _cells(row["labels"]) if code not in (MI, NORM)]
    classes = _classes(name, codes, others=True)
    looked = [name for name in _cells(row["annotated"]) if name != MI]
    annotated = _classes(name, looked, others=False)
    if not codes and not annotated:
        if not beats and _infarction(name, row) == UNKNOWN:
            raise UnusableRecord(name, "no-label", f"no label in {TABLE}, and no .atr file")
        return [], label_vector((), ())
    looked_for = annotated or list(RHYTHM_CLASSES)
    not_looked_for = [c for c in classes if c not in looked_for]
    if not_looked_for:
        raise UnusableRecord(
            name, "label-conflict", f"{not_looked_for[0]} is in labels, but not in annotated"
        )
    return classes, label_vector(classes, set(looked_for) - open_classes(codes, SNOMED_OPEN))


def _infarction(name: str, row: dict[str, str]) -> int:
    """1, 0 or UNKNOWN: whether the table says that the record has an infarction."""
    codes = set(_cells(row["labels"]))
    found = bool(codes & SNOMED_INFARCTION) or MI in codes
    if found and NORM in codes:
        raise UnusableRecord(name, "label-conflict", f"{NORM} and an infarction are in labels")
    if found:
        return 1
    return 0 if NORM in codes or MI in _cells(row["annotated"]) else UNKNOWN


def _annotations(stem: Path, name: str, wave: Waveform, needed: bool) -> Annotations | None:
    """The record's annotated beats, if it has any.

    A damaged .atr file makes a record unusable if it is `needed`; a record that has labels stays
    usable for them, and the beat tasks count it as one without annotations.
    """
    if not has_annotations(stem):
        return None
    try:
        return beat_annotations(stem, name, wave)
    except UnusableRecord:
        if needed:
            raise
        return None


def _cells(text: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"[;|]", text) if cell.strip()]


def _classes(name: str, codes: list[str], others: bool) -> list[str]:
    """Classes of the given names or codes, in their order.

    `others` allows SNOMED CT codes of other diagnoses. `UnusableRecord` for anything else: a
    damaged code must not be read as a record without the class.
    """
    for code in codes:
        if code not in _KNOWN and not (others and is_snomed(code)):
            shown = repr(code[:20]) if code.isprintable() else "an unreadable label"
            known = ", ".join(RHYTHM_CLASSES)
            raise UnusableRecord(name, "no-label", f"{shown} is not a class. Known: {known}")
    return list(dict.fromkeys(_KNOWN[code] for code in codes if code in _KNOWN))


def _rows(folder: Path) -> dict[str, dict[str, str]] | None:
    """The rows of labels.csv, by record; None without one; read again only if it has changed."""
    path = folder / TABLE
    if not path.is_file():
        return None
    state = path.stat()
    return _table(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _table(path: Path, _changed: int, _size: int) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    try:
        for number, row in _lines(path):
            record = without_suffix(row["record"].removesuffix(".hea"))
            problem = _problem(record, row, rows)
            if problem:
                raise DataError(f"{path}: line {number}: {problem}. Correct the line.")
            rows[record] = row
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(f"{path}: cannot be read as a table. Save it as UTF-8 CSV.") from None
    return rows


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row, after the columns have been checked."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        required = _required(path.parent)
        missing = [c for c in required if c not in (reader.fieldnames or ())]
        if missing:
            needed, allowed = ", ".join(required), ", ".join(_OPTIONAL)
            raise DataError(
                f"{path}: column {missing[0]} is missing. Needed: {needed}; allowed: {allowed}."
            )
        for row in reader:
            yield reader.line_num, {c: (row.get(c) or "").strip() for c in _REQUIRED + _OPTIONAL}


def _required(folder: Path) -> tuple[str, ...]:
    """Columns that the table needs: no labels where beats are annotated."""
    beats = any(path.suffix.lower() == ".atr" for path in data_files(folder))
    return _REQUIRED[:-1] if beats else _REQUIRED


def _problem(record: str, row: dict[str, str], rows: dict[str, dict[str, str]]) -> str:
    """What is wrong with a row, or ""."""
    if not _RECORD.fullmatch(record):
        return "the record is not a file name inside the folder"
    if record in rows:
        return f"record {record} is listed twice"
    if not row["patient"]:
        return f"record {record} has no patient, who is needed so that no patient is at two sites"
    return ""
