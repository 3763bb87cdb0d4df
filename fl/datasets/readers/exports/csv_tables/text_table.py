"""The cells of a table, whatever separates its columns and its decimals."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.exports.csv_tables.headings import parse_heading
from fl.ecg.records import LEADS
from fl.util.errors import DataError, UnusableRecord

SEPARATORS = ("\t", ";", ",")
MISSING = frozenset({"", "nan", "na", "n/a", "null"})  # in small letters
_SAMPLE_LINES = 50  # in which the separator is looked for
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# A mistyped number may be shown; words and dates of birth may say who the patient is.
_HARMLESS = re.compile(r"[+-]?(inf(inity)?|[\d.,:_' e+-]*\d ?[^\W\d_]{0,3})", re.IGNORECASE)
_DATE = re.compile(r".*\d[./-]\d+[./-]\d.*")
_USUAL = re.compile(r'[0-9eE+\-.,;\t\r\n "]*')  # of a table without words


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table as it is written, with numbers."""

    header: tuple[str, ...]  # (column,) headings; empty if the table has none
    below_header: tuple[str, ...]  # (column,) units in a line of their own; empty if there is none
    values: NDArray[np.float64]  # (sample, column), nan where a cell is empty
    cells: list[list[str]]  # (sample, column) the same as text, decimals with a point
    lines: list[int]  # (sample,) line of the file


def read_table(path: Path, units: frozenset[str]) -> TextTable:
    """The table in a file; `units` are words (small letters) that make up a line of units.

    Raises DataError that names the line and the cell that cannot be read.
    """
    rows, lines = _rows(path, _text(path))
    header: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    if rows and any(not _is_number(cell) for cell in rows[0]):
        header = tuple(_heading(cell) for cell in rows.pop(0))
        lines.pop(0)
        first = [_heading(cell).strip("[]() ").lower() for cell in rows[0]] if rows else []
        if any(first) and all(cell in units or not cell for cell in first):
            below = tuple(_heading(cell).strip("[]() ") for cell in rows.pop(0))
            lines.pop(0)
    if not rows:
        raise DataError(
            f"{path}: has no samples. Expected: a header of lead names, then one line per sample."
        )
    header, rows = _without_empty_last(header, rows)
    columns = len(header) or len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != columns:
            _refuse_width(path, line, row, columns, bool(header))
    _with_points(path, rows, lines)
    return TextTable(
        header=header,
        below_header=below,
        values=_values(path, rows, lines, header),
        cells=rows,
        lines=lines,
    )


def _text(path: Path) -> str:
    """The file's text: UTF-8 or UTF-16 with their marks, UTF-8, or else Latin-1."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Name a CSV file.") from None
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ["utf-16"] if wide else ["utf-8-sig", "latin-1"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise DataError(f"{path}: is not text. Save the table as CSV, in UTF-8.")


def _rows(path: Path, text: str) -> tuple[list[list[str]], list[int]]:
    """Cells of each line that is neither empty nor a comment (#), and the numbers of the lines."""
    found = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while found and not found[-1].strip():
        found.pop()
    start = int(bool(found) and found[0].lower().startswith("sep="))  # Excel's own first line
    while start < len(found) and (not found[start].strip() or found[start].startswith("#")):
        # A heading such as `# I,II` is not a comment, but then the names of its leads are missing
        # and that is an error.
        start += 1
    separator = _separator(found[start : start + _SAMPLE_LINES])
    rows, lines = [], []
    for number, line in enumerate(found[start:], start=start + 1):
        if not line.strip(" "):
            raise DataError(
                f"{path}: line {number} is empty between samples. Remove it, or complete it if a "
                "sample is missing there."
            )
        try:
            rows.append(next(csv.reader([line], delimiter=separator)) if separator else [line])
        except csv.Error:
            raise DataError(f"{path}: line {number} cannot be read as cells of a table.") from None
        lines.append(number)
        if len(rows) == 1:
            _require_leads(path, rows[0], number)
    return rows, lines


def _require_leads(path: Path, first: list[str], line: int) -> None:
    """`UnusableRecord` for a first line of words of which none is a lead or a time.

    Its words are not shown: exports write the patient's name there.
    """
    headings = [parse_heading(_heading(cell)) for cell in first]
    if all(map(_is_number, first)) or any(h.lead or h.time for h in headings):
        return
    raise UnusableRecord(
        path.name,
        "lead-names",
        f"line {line} is text without the name of a lead. Expected there: one name for each "
        f"column, separated by , ; or tabs, and the samples below; known: {', '.join(LEADS)}. "
        "Remove the lines above it",
    )


def _separator(lines: Sequence[str]) -> str:
    """What separates the columns: of the header, or of most lines; "" for a table of one column."""
    if not lines:
        return ""
    first = lines[0]
    # `I` above `0,5`: one column with decimal commas. `I,II` above `1,5`: two columns.
    single = len(lines) > 1 and all(_DECIMAL_COMMA.fullmatch(line.strip()) for line in lines[1:])
    if single and "," not in first:
        return ""
    if re.search(r"[^\W\d_]", first.lower().replace("nan", "").replace("e", "")):  # a header
        return next((separator for separator in SEPARATORS if separator in first), "")
    for separator in SEPARATORS:
        if 2 * sum(separator in line for line in lines) > len(lines):
            return separator
    return ""


def _heading(cell: str) -> str:
    return cell.strip().strip("'\"").strip()


def _is_number(cell: str) -> bool:
    text = cell.strip()
    return text.lower() in MISSING or bool(_NUMBER.fullmatch(text.replace(",", ".", 1)))


def _without_empty_last(
    header: tuple[str, ...], rows: list[list[str]]
) -> tuple[tuple[str, ...], list[list[str]]]:
    """The table without a last column that is empty because each line ends in a separator."""
    if len(rows[0]) < 2 or any(len(row) != len(rows[0]) or row[-1].strip() for row in rows):
        return header, rows
    if header and len(header) == len(rows[0]) and header[-1]:
        return header, rows  # a lead that is missing all the time
    cut = header[:-1] if len(header) == len(rows[0]) else header
    return cut, [row[:-1] for row in rows]


def _refuse_width(path: Path, line: int, row: list[str], columns: int, header: bool) -> None:
    of_what = "its header" if header else "the first line"
    hint = ""
    if len(row) == 2 * columns:
        hint = " If its decimals have commas, separate the columns by ; or tabs."
    raise DataError(
        f"{path}: line {line} has {len(row)} values, but {of_what} has {columns}. Complete "
        f"the line; a missing sample is an empty cell.{hint}"
    )


def _with_points(path: Path, rows: list[list[str]], lines: list[int]) -> None:
    """Replace decimal commas by points, in place; `DataError` if both are used."""
    commas = next((i for i, row in enumerate(rows) if any("," in cell for cell in row)), None)
    if commas is None:
        return
    for row, line in zip(rows, lines, strict=True):
        for place, cell in enumerate(row):
            if "." in cell:
                raise DataError(
                    f"{path}: line {lines[commas]} has a comma in a number and line {line} a "
                    "point. Write decimals in one way, and no separator of thousands."
                )
            row[place] = cell.replace(",", ".", 1)


def _values(
    path: Path, rows: list[list[str]], lines: list[int], header: tuple[str, ...]
) -> NDArray[np.float64]:
    """(sample, column) numbers; nan where a cell is empty."""
    usual = all(_USUAL.fullmatch("".join(row)) for row in rows)
    try:
        if usual:  # float() alone reads words such as inf, and 1_000
            values = np.array([[float(c) if c.strip() else np.nan for c in row] for row in rows])
        else:
            values = np.array([[_number(cell) for cell in row] for row in rows])
        if not np.isinf(values).any():
            return values
    except ValueError:
        pass
    for row, line in zip(rows, lines, strict=True):
        for place, cell in enumerate(row):
            _require_number(path, line, cell, header[place] if header else "")
    raise AssertionError("every cell is a number")


def _number(cell: str) -> float:
    text = cell.strip()
    if text.lower() in MISSING:
        return np.nan
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _require_number(path: Path, line: int, cell: str, heading: str) -> None:
    try:
        if np.isinf(_number(cell)):
            raise ValueError(cell)
    except ValueError:
        text = cell.strip()
        harmless = _HARMLESS.fullmatch(text) and not _DATE.fullmatch(text)
        shown = repr(text[:20]) if harmless else "a text"
        known = parse_heading(heading)
        known_heading = heading and (known.lead or known.time or known.number)
        where = f" in the column {heading[:20]!r}" if known_heading else ""
        raise DataError(
            f"{path}: line {line} is not all numbers: {shown}{where}. Expected: numbers, or empty "
            "cells where a sample is missing."
        ) from None
