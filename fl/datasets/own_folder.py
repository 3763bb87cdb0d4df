"""A hospital's own folder: WFDB records and one table of labels.

`labels.csv` has the columns `record`, `patient` and `labels` (class names or SNOMED CT codes,
separated by `;` or `|`; codes of other diagnoses are allowed). It may have `age`, `sex`, `group`
(device, ward) and `annotated`: the classes that were looked for in this record, which are all nine
if the cell is empty. An empty `labels` cell means that none was found if `annotated` is filled,
and that nothing is known if it is empty too.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fl.config.run_config import RESERVED_NAMES
from fl.datasets import DATASETS
from fl.datasets.base import Card, Source
from fl.datasets.readers.challenge_records import age_years, sex_letter
from fl.datasets.readers.wfdb_signals import Waveform, read_waveform
from fl.datasets.record_discovery import data_files, require_records
from fl.ecg.labels import (
    CPSC_TEXT,
    RHYTHM_CLASSES,
    SNOMED,
    SNOMED_OPEN,
    is_snomed,
    label_vector,
    open_classes,
)
from fl.ecg.records import LEADS, Record
from fl.util.errors import ConfigError, DataError, UnusableRecord

TABLE = "labels.csv"
_REQUIRED = ("record", "patient", "labels")
_OPTIONAL = ("age", "sex", "group", "annotated")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_RECORD = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")  # no `..`, no absolute path
_KNOWN = {**{c: c for c in RHYTHM_CLASSES}, **CPSC_TEXT, **SNOMED}


@dataclass(frozen=True, kw_only=True)
class OwnFolder:
    """A data set in a folder that its owner names, outside the data folder."""

    name: str
    path: str

    @property
    def card(self) -> Card:
        return Card(
            name=self.name,
            title=f"The folder {self.path}",
            leads=LEADS,
            rates=(),
            annotates=RHYTHM_CLASSES,
            mapping=f"{TABLE}: class names or SNOMED CT codes, as its owner wrote them; the "
            "column `annotated`, if there is one, lists the classes that were looked for. Records "
            "with none of the classes are used: each class that was looked for is absent.",
            patients=f"Identified by the column `patient` of {TABLE}.",
            licence="The owner's.",
            citation="",
        )

    def exists(self, root: Path) -> bool:
        return Path(self.path).is_dir()

    def record_names(self, root: Path) -> list[str]:
        folder, names = Path(self.path), list(_rows(Path(self.path)))
        return require_records(self.card, folder, names, f"{TABLE} with pairs of .hea and .dat")

    def files(self, root: Path) -> list[Path]:
        return data_files(Path(self.path))

    def read(self, root: Path, name: str) -> Record:
        row = _rows(Path(self.path)).get(name)
        if row is None:
            raise UnusableRecord(name, "missing-file", f"not in {TABLE}")
        codes = _cells(row["labels"])
        classes = _classes(name, codes, others=True)
        annotated = _classes(name, _cells(row["annotated"]), others=False)
        looked_for = annotated or list(RHYTHM_CLASSES)
        if not codes and not annotated:
            raise UnusableRecord(name, "no-label", f"{TABLE} has no label for it")
        not_looked_for = [c for c in classes if c not in looked_for]
        if not_looked_for:
            raise UnusableRecord(
                name, "label-conflict", f"{not_looked_for[0]} is in labels, but not in annotated"
            )
        wave = self.waveform(root, name)
        return Record(
            source=self.name,
            name=name,
            patient=row["patient"],
            signal=wave.signal,
            leads=wave.leads,
            fs=wave.fs,
            labels=label_vector(classes, set(looked_for) - open_classes(codes, SNOMED_OPEN)),
            first_label=classes[0] if classes else "",
            group=row["group"],
            age=age_years(row["age"]),
            sex=sex_letter(row["sex"]),
        )

    def waveform(self, root: Path, name: str) -> Waveform:
        """The signal, whatever its labels are."""
        return read_waveform(Path(self.path) / name, name=name, rates=(), unit="mV")


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


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of labels.csv, by record; read again only if the file has changed."""
    path = folder / TABLE
    if not path.is_file():
        columns = ", ".join(_REQUIRED)
        raise DataError(f"{path}: no such file. Make one with the columns {columns}.")
    state = path.stat()
    return _table(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _table(path: Path, _changed: int, _size: int) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    try:
        for number, row in _lines(path):
            record = row["record"].removesuffix(".hea")
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
        missing = [c for c in _REQUIRED if c not in (reader.fieldnames or ())]
        if missing:
            needed, allowed = ", ".join(_REQUIRED), ", ".join(_OPTIONAL)
            raise DataError(
                f"{path}: column {missing[0]} is missing. Needed: {needed}; allowed: {allowed}."
            )
        for row in reader:
            yield reader.line_num, {c: (row.get(c) or "").strip() for c in _REQUIRED + _OPTIONAL}


def _problem(record: str, row: dict[str, str], rows: dict[str, dict[str, str]]) -> str:
    """What is wrong with a row, or ""."""
    if not _RECORD.fullmatch(record):
        return "the record is not a file name inside the folder"
    if record in rows:
        return f"record {record} is listed twice"
    if not row["patient"]:
        return f"record {record} has no patient, who is needed so that no patient is at two sites"
    return ""
