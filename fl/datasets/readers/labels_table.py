"""Reads labels.csv, the table in which a hospital lists its own records and their labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fl.datasets.readers.challenge_records import age_years, sex_letter
from fl.datasets.readers.exports.formats.content import without_suffix
from fl.datasets.record_discovery import data_files
from fl.ecg.labels import CPSC_TEXT, RHYTHM_CLASSES, SNOMED, SNOMED_INFARCTION
from fl.util.csv_table import LATIN_1, SEPARATORS, CsvTable, read_csv_table
from fl.util.errors import DataError, did_you_mean

TABLE = "labels.csv"
REQUIRED = ("record", "patient", "labels")
OPTIONAL = ("age", "sex", "group", "annotated")
MI, NORM = "MI", "NORM"  # of the infarction tasks
# Names and codes of the rhythm classes, and the class of each.
KNOWN = {**{c: c for c in RHYTHM_CLASSES}, **CPSC_TEXT, **SNOMED}
_LABELS = frozenset((*KNOWN, *SNOMED_INFARCTION, MI, NORM))
_NO_LABEL = ("age", "sex", "group")  # columns in which a label can only be a misplaced one
_PARTS = (".hea", ".dat", ".mat", ".atr")  # files of a WFDB record
_STEP = "Several labels of one record are one cell, separated by | or ;."
Row = dict[str, str]  # column -> cell


@dataclass(frozen=True, kw_only=True)
class LabelsTable:
    """The rows of a labels.csv, by record, and what was assumed or passed over to read it."""

    rows: Mapping[str, Row]
    notes: tuple[str, ...]  # in words, without cells


def labels_table(folder: Path) -> LabelsTable | None:
    """The folder's table; None if it has none. It is read again only if it has changed.

    Raises DataError for a table with a mistake; it names file and line.
    """
    path = folder / TABLE
    if not path.is_file():
        return None
    state = path.stat()
    # No labels are needed where beats are annotated.
    beats = any(file.suffix.lower() == ".atr" for file in data_files(folder))
    return _read(path, REQUIRED[:-1] if beats else REQUIRED, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _read(path: Path, required: tuple[str, ...], _changed: int, _size: int) -> LabelsTable:
    table = _with_known_columns(read_csv_table(path, _STEP), required)
    rows: dict[str, Row] = {}
    lines: dict[str, int] = {}
    repeated = 0
    # The column to the right of the labels is where the rest of an unquoted cell goes.
    beside = dict(zip(table.columns, table.columns[1:], strict=False)).get("labels", "")
    for number, cells in table.records():
        row = {c: cells.get(c, "") for c in REQUIRED + OPTIONAL}
        record = _record_name(row["record"])
        problem = _problem(record, row) or _misplaced(cells, beside)
        if not problem and record in rows:
            repeated += 1
            problem = _difference(record, rows[record], row, lines[record])
        if problem:
            raise DataError(f"{path}: line {number}: {problem}. Correct the line.")
        rows.setdefault(record, row | {"record": record})
        lines.setdefault(record, number)
    notes = [*_notes(table, repeated), *_not_understood(rows.values())]
    return LabelsTable(rows=rows, notes=tuple(notes))


def _with_known_columns(table: CsvTable, required: Iterable[str]) -> CsvTable:
    """The table with the names of our columns in small letters; `DataError` if one is missing."""
    named = {c.lower(): c for c in table.columns}
    columns = tuple(c.lower() if c.lower() in REQUIRED + OPTIONAL else c for c in table.columns)
    twice = [c for c in columns if c in REQUIRED + OPTIONAL and columns.count(c) > 1]
    if twice:
        raise DataError(f"{table.path}: line 1 has the column {twice[0]!r} twice. Remove one.")
    for column in required:
        if column not in columns:
            needed, allowed = ", ".join(REQUIRED), ", ".join(OPTIONAL)
            found = did_you_mean(column, [c for c in named if c not in REQUIRED + OPTIONAL])
            raise DataError(
                f"{table.path}: column {column} is missing.{found} Needed: {needed}; allowed: "
                f"{allowed}."
            )
    # A misspelt `annotated` would turn every class that was not looked for into an absent one.
    for column in () if "annotated" in columns else named:
        if column not in REQUIRED + OPTIONAL and did_you_mean(column, ["annotated"]):
            raise DataError(
                f"{table.path}: line 1 has the column {named[column]!r}. Did you mean annotated? "
                "Rename it."
            )
    return CsvTable(
        path=table.path,
        columns=columns,
        rows=table.rows,
        separator=table.separator,
        encoding=table.encoding,
    )


def _record_name(text: str) -> str:
    """The record of a cell: a path inside the folder, with / and without its suffix."""
    name = text.replace("\\", "/")
    return name[:-4] if name.lower().endswith(_PARTS) else without_suffix(name)


def _problem(record: str, row: Row) -> str:
    """What is wrong with a row by itself, or ""."""
    if not _is_inside(record):
        return f"the record {record!r} is not a file name inside the folder"
    if not row["patient"]:
        return f"record {record} has no patient, who is needed so that no patient is at two sites"
    return ""


def _is_inside(record: str) -> bool:
    """Whether it is a file's path inside the folder: not absolute, no `..`, one line of text."""
    parts = record.split("/")
    return record.isprintable() and all(part.strip(".") for part in parts)


def _misplaced(cells: Row, beside: str) -> str:
    """A label that stands in a column of something else, or ""."""
    unread = beside if beside not in (*REQUIRED, *OPTIONAL) else ""
    for column in (*_NO_LABEL, *((unread,) if unread else ())):
        if cells.get(column) in _LABELS:
            return (
                f"column {column} has {cells[column]!r}, which is a label. Several labels of one "
                "record are one cell, separated by | or ; (in quotation marks if that separates "
                "the columns)"
            )
    return ""


def _difference(record: str, first: Row, again: Row, line: int) -> str:
    """Why a second row of a record cannot be used, or "" if it repeats the first."""
    differ = [c for c in REQUIRED + OPTIONAL if c != "record" and first[c] != again[c]]
    if not differ:
        return ""
    return f"record {record} is listed twice: line {line} has other {' and '.join(differ)}"


def _not_understood(rows: Iterable[Row]) -> list[str]:
    """How many ages and sexes are written in a way that is not read; their cells are not shown."""
    cells = list(rows)
    ages = sum(bool(row["age"]) and age_years(row["age"]) is None for row in cells)
    sexes = sum(bool(row["sex"]) and not sex_letter(row["sex"]) for row in cells)
    return [
        f"{TABLE}: cells of the column {column} that are not read: {n}; accepted: {accepted}"
        for column, n, accepted in (("age", ages, "years"), ("sex", sexes, "F, M"))
        if n
    ]


def _notes(table: CsvTable, repeated: int) -> list[str]:
    """What was assumed to read the table, and what of it is not used."""
    notes = []
    if table.encoding == LATIN_1:
        notes.append(f"{TABLE} is not UTF-8 and was read as Latin-1")
    if table.separator != ",":
        notes.append(f"{TABLE} is separated by a {SEPARATORS[table.separator]}")
    unread = [c for c in table.columns if c and c not in REQUIRED + OPTIONAL]
    if unread:
        notes.append(f"{TABLE}: columns that are not read: {', '.join(unread)}")
    if repeated:
        notes.append(f"{TABLE}: rows that repeat another one and are counted once: {repeated}")
    return notes
