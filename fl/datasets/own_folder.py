"""A hospital's own folder: recordings with labels (a table, or headers), annotated beats, or both.

A recording is a WFDB record, or a file in a format of `fl.datasets.readers.exports.formats`, which
is recognised by its content. The patient's fields of such a file are not read: the table names the
patient.

For the beat tasks, records have their annotated beats in `.atr` files. The patient of a record that
no table lists is the one that its header names (`# patient 7`), else the record counts as a patient
of its own. A record with neither a row nor an `.atr` file is left out (`no-row`).

`labels.csv` has the columns `record`, `patient` and `labels` (class names or SNOMED CT codes,
separated by `;` or `|`; codes of other diagnoses are allowed). It may have `age`, `sex`, `group`
(device, ward) and `annotated`: the classes that were looked for in this record, which are all nine
if the cell is empty. An empty `labels` cell means that none was found if `annotated` is filled,
and that nothing is known if it is empty too. Where there are `.atr` files, the column `labels` may
be left out. A file `source.toml` may declare for all records whose `annotated` cell is empty which
labels are complete: see `readers/source_settings.py`.

Without a table, the labels are the codes of the header's line `#Dx: ...`, and age and sex those of
`#Age:` and `#Sex:`, as the Challenges write them.

For the infarction tasks, `labels` may have `MI` (or the SNOMED CT code of an infarction) or `NORM`
(a normal recording, without infarction), and `annotated` may have `MI`: a record without it then
has none. `MI` and `NORM` say nothing about the nine classes of the rhythm task.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fl.config.run_config import RESERVED_NAMES
from fl.datasets import DATASETS
from fl.datasets.base import Card, Source
from fl.datasets.readers.beat_annotations import beat_annotations, has_annotations
from fl.datasets.readers.beat_records import stated_patient
from fl.datasets.readers.challenge_records import age_years, comment_fields, sex_letter
from fl.datasets.readers.exports.formats.discovery import hospital_file, hospital_files
from fl.datasets.readers.exports.formats.recording import read_hospital_file
from fl.datasets.readers.exports.unread_files import unread_files
from fl.datasets.readers.labels_table import OPTIONAL, REQUIRED, TABLE, Row, labels_table
from fl.datasets.readers.row_labels import row_labels
from fl.datasets.readers.source_settings import SETTINGS, source_settings
from fl.datasets.readers.wfdb_signals import Waveform, read_waveform
from fl.datasets.record_discovery import data_files, record_stems, require_records
from fl.ecg.labels import RHYTHM_CLASSES, UNKNOWN
from fl.ecg.records import LEADS, Annotations, Record
from fl.util.errors import ConfigError, DataError, UnusableRecord

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_CODES_OF_TABLE = (
    f"{TABLE}: class names or SNOMED CT codes, as its owner wrote them; the column `annotated`, if "
    f"there is one, lists the classes that were looked for, and {SETTINGS} those whose labels are "
    "complete in every record. Records with none of the classes are used: each class that was "
    "looked for is absent. Beats as in .atr files."
)
_CODES_OF_HEADERS = (
    "The line `#Dx: ...` of each header: SNOMED CT codes or class names. Records with none of the "
    "classes are used: each class is absent. Beats as in .atr files."
)
_DIAGNOSES = re.compile(r"#\s*Dx\s*:", re.IGNORECASE)
_PATIENTS_OF_TABLE = (
    f"Identified by the column `patient` of {TABLE}; of a record with beats and no row, by its "
    "header's comment `patient 7`, else it counts as a patient of its own."
)
_PATIENTS_OF_HEADERS = (
    "Identified by the header's comment `patient 7`; a record whose header names none, or two, "
    "counts as a patient of its own."
)
_INFARCTIONS = (
    f"{TABLE}: `MI` or an infarction's SNOMED CT code among the labels; none: `NORM` among them, "
    "or `MI` in the column `annotated` alone. Left out: every other record (`no-infarction-label`)."
)


@dataclass(frozen=True, kw_only=True)
class OwnFolder:
    """A data set in a folder that its owner names, outside the data folder."""

    name: str
    path: str
    # Version of the rules below, part of the name of its cache folder: examples that were made by
    # other rules are not used.
    rules: int = field(default=2, init=False)
    # Read signals that differ from their checksums. Not in the repr: see `Card.infarction`.
    ignore_checksums: bool = field(default=False, repr=False)

    @property
    def card(self) -> Card:
        table = (Path(self.path) / TABLE).is_file()
        diagnoses = not table and _has_diagnoses(Path(self.path))
        return Card(
            name=self.name,
            title=f"The folder {self.path}",
            leads=LEADS,
            rates=(),
            annotates=RHYTHM_CLASSES if table or diagnoses else (),
            mapping=_mapping(table, diagnoses),
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
        table = labels_table(folder)
        if table is None and not any(annotated.values()) and not _has_diagnoses(folder):
            columns = ", ".join(REQUIRED)
            raise DataError(
                f"{folder / TABLE}: no such file, and no header has diagnoses (`#Dx: ...`). Make "
                f"one with the columns {columns}, or put beat annotations beside the records, as "
                ".atr files."
            )
        if table is not None and not table.rows and not any(annotated.values()):
            raise DataError(f"{folder / TABLE}: no records in it. Add a row for each record.")
        # A record without a row and a row without a record are counted as unusable.
        names = {*(table.rows if table else ()), *annotated}
        return require_records(
            self.card, folder, list(names), f"{TABLE} with pairs of .hea and .dat"
        )

    def files(self, root: Path) -> list[Path]:
        folder = Path(self.path)
        others = [path for paths in hospital_files(folder).values() for path in paths]
        settings = folder / SETTINGS
        if settings.is_file():
            others.append(settings)
        return sorted({*data_files(folder), *others})

    def read(self, root: Path, name: str) -> Record:
        row, stem = self._row(name), Path(self.path) / name
        wave = self.waveform(root, name)
        if labels_table(Path(self.path)) is None:
            row |= _header_row(wave)
        complete = source_settings(Path(self.path)).complete
        stated = row_labels(name, row, complete, beats=has_annotations(stem))
        unlabelled = stated.infarction == UNKNOWN and not (stated.labels >= 0).any()
        return Record(
            source=self.name,
            name=name,
            patient=row["patient"] or stated_patient(wave.comments) or name,
            signal=wave.signal,
            leads=wave.leads,
            fs=wave.fs,
            notes=wave.notes,
            labels=stated.labels,
            annotations=_annotations(stem, name, wave, needed=unlabelled),
            first_label=stated.first,
            group=row["group"],
            age=age_years(row["age"]),
            sex=sex_letter(row["sex"]),
            infarction=stated.infarction,
            other_codes=stated.other_codes,
        )

    def _row(self, name: str) -> Row:
        """The record's line of the table; empty cells if beats are all that is known of it."""
        table, stem = labels_table(Path(self.path)), Path(self.path) / name
        if table is not None and name in table.rows:
            return table.rows[name]
        if table is not None and not has_annotations(stem):
            short = name.rpartition("/")[2]
            listed = f"; {TABLE} lists {short}: write {name} there" if short in table.rows else ""
            raise UnusableRecord(name, "no-row", f"not in {TABLE}, and no .atr file{listed}")
        return dict.fromkeys(REQUIRED + OPTIONAL, "")

    def table_notes(self, root: Path) -> list[str]:
        """What was assumed to read the folder, and what of its tables is not used."""
        folder = Path(self.path)
        table = labels_table(folder)
        return [*(table.notes if table else ()), *source_settings(folder).notes()]

    def unread_files(self, root: Path) -> dict[str, list[str]]:
        """Kind -> files that belong to no record."""
        return unread_files(Path(self.path), (TABLE, SETTINGS, "RECORDS"))

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
        table = labels_table(Path(self.path))
        listed = table is not None and record.name in table.rows
        return record.patient == record.name and not listed


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


def _mapping(table: bool, diagnoses: bool) -> str:
    """Where the labels are from, for the card."""
    if table:
        return _CODES_OF_TABLE
    return _CODES_OF_HEADERS if diagnoses else "Beat annotations (.atr) alone."


def _has_diagnoses(folder: Path) -> bool:
    """Whether a header in the folder has a line of diagnoses, as the Challenges write it."""
    headers = [path for path in data_files(folder) if path.suffix.lower() == ".hea"]
    return _any_diagnosis(tuple(headers))


@lru_cache(maxsize=16)
def _any_diagnosis(headers: tuple[Path, ...]) -> bool:
    for path in headers:
        try:
            lines = path.read_text(encoding="latin-1").splitlines()
        except OSError:
            continue  # it is named when it is read
        if any(_DIAGNOSES.match(line) for line in lines):
            return True
    return False


def _header_row(wave: Waveform) -> Row:
    """What a header's comments say in place of a row of the table."""
    fields = comment_fields(wave.comments)
    codes = [code.strip() for code in fields.get("dx", "").split(",") if code.strip()]
    return {"labels": ";".join(codes), "age": fields.get("age", ""), "sex": fields.get("sex", "")}


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
