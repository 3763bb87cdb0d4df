"""Reads a CSV file as spreadsheets and editors write it: any usual encoding, line end, separator.

Nothing in it is guessed from its cells: a row whose cells do not fit the heading is an error that
names its line, because a comma that is not quoted moves every later cell into another column.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fl.util.errors import DataError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
UTF_8, LATIN_1 = "UTF-8", "Latin-1"
_OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel or zip file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_SHOWN = 5  # numbers of further lines with the same fault


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """The heading and the rows of a CSV file; cells have no blanks around them."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]  # number of the row's first line, its cells
    separator: str  # of SEPARATORS
    encoding: str  # UTF_8 (with or without a byte order mark) or LATIN_1

    def records(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Line and cells by column of each row; columns without a name are left out."""
        for number, cells in self.rows:
            yield number, {c: cell for c, cell in zip(self.columns, cells, strict=True) if c}


def read_csv_table(path: Path, step: str = "") -> CsvTable:
    """A table whose rows all have the heading's number of cells.

    Empty rows and empty columns without a name, which spreadsheets write, are allowed. Raises
    DataError for a file that is no such table; it names the line, and
    ends with `step`: what else the owner of the table may have to do.
    """
    table = read_ragged_csv(path)
    repeated = [c for c, n in Counter(table.columns).items() if c and n > 1]
    if repeated:
        raise DataError(
            f"{path}: line 1 has the column {repeated[0]!r} twice. Remove or rename one of them."
        )
    wide = len(table.columns)
    wrong: dict[int, int] = {}  # line -> its number of cells
    for number, cells in table.rows:
        if len(cells) != wide:
            wrong[number] = len(cells)
        elif any(cell for c, cell in zip(table.columns, cells, strict=True) if not c):
            raise DataError(
                f"{path}: line {number} has a cell under a heading without a name. Name the "
                "column in line 1, or empty it."
            )
    if wrong:
        first, *others = wrong
        raise DataError(
            f"{path}: line {first} has {wrong[first]} cells, but the heading has {wide} columns"
            f"{_also(others)}. A cell with a {SEPARATORS[table.separator]} needs quotation marks "
            f'("..."), and an empty cell its separator.{step and f" {step}"}'
        )
    return table


def _also(lines: list[int]) -> str:
    """`; so have lines 4, 5 and 12 more`: further lines with the same fault."""
    if not lines:
        return ""
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    word = "line" if len(lines) == 1 else "lines"
    return f"; also wrong: {word} {', '.join(map(str, lines[:_SHOWN]))}{more}"


def read_ragged_csv(path: Path) -> CsvTable:
    """A table whose rows may have any number of cells; `DataError` for what is no CSV file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{path}: cannot be read as a table ({reason}).") from None
    text, encoding = _decoded(path, content)
    separator, text, skipped = _separator(text)
    numbers, rows = skipped + 1, []
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    try:
        for cells in reader:
            row = tuple(cell.strip() for cell in cells)
            if any(row):
                rows.append((numbers, row))
            numbers = skipped + reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}: cannot be read as a table (line {numbers}: {error}). Close every quotation "
            'mark, and write "" for one inside a cell.'
        ) from None
    columns = rows[0][1] if rows else ()
    return CsvTable(
        path=path,
        columns=columns,
        rows=tuple(rows[1:]),
        separator=separator,
        encoding=encoding,
    )


def _decoded(path: Path, content: bytes) -> tuple[str, str]:
    """The text and its encoding; `DataError` for a file that is not text."""
    kind = next((k for start, k in _OTHER_FORMATS.items() if content.startswith(start)), "")
    if not kind and b"\0" in content:
        kind = "a binary file"
    if kind:
        raise DataError(f"{path}: cannot be read as a table: it is {kind}. Save it as UTF-8 CSV.")
    try:
        return content.decode("utf-8-sig"), UTF_8
    except UnicodeDecodeError:
        # Any bytes are Latin-1; what spreadsheets wrote before UTF-8 is.
        return content.decode("latin-1"), LATIN_1


def _separator(text: str) -> tuple[str, str, int]:
    """The separator that cuts the heading into most cells, the text, and lines before it."""
    skipped = 0
    if text[:4].lower() == "sep=":  # Excel's own first line
        text, skipped = text.partition("\n")[2], 1
    heading = next((line for line in text.splitlines() if line.strip()), "")
    cells = {s: len(next(csv.reader([heading], delimiter=s), [])) for s in SEPARATORS}
    return max(cells, key=lambda s: cells[s]), text, skipped
