"""rounds.csv and sites.csv: how a run's trainings went on, written and read in one place."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from fl.util.atomic_io import write_atomically
from fl.util.errors import DataError

ROUNDS, SITES = "rounds.csv", "sites.csv"
NOT_MEASURED = "n/a"  # a cell without a value


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """One line of rounds.csv: how a round went, and the validation of its weights."""

    strategy: str
    round: int
    seconds: float
    participants: int
    failures: int
    train_loss: float | None
    val_loss: float | None
    val_macro_f1: float | None
    val_macro_auroc: float | None
    # A line for the mean of so many rounds up to this one; 0: of the round's own weights. A table
    # without such a line does not have the column.
    averaged: int = field(default=0, metadata={"column": "where used"})
    # Examples behind the losses of a site that trains alone; not in the table.
    n_train: int | None = field(default=None, metadata={"column": False})
    n_val: int | None = field(default=None, metadata={"column": False})


@dataclass(frozen=True, kw_only=True)
class SiteRow:
    """One line of sites.csv: a site's validation or test of the weights of one round."""

    strategy: str
    round: int
    site: str
    split: str
    n_records: int
    loss: float | None
    macro_f1: float | None
    macro_auroc: float | None


Line = TypeVar("Line", RoundRow, SiteRow)


def write_history_tables(
    folder: Path, rounds: Iterable[RoundRow], sites: Iterable[SiteRow]
) -> None:
    """Write rounds.csv and sites.csv of a run directory, each whole or not at all."""
    _write(folder / ROUNDS, RoundRow, rounds)
    _write(folder / SITES, SiteRow, sites)


def read_rounds(folder: Path) -> list[RoundRow]:
    """rounds.csv of a run directory; `DataError` names the file and what is wrong with it."""
    return _read(folder / ROUNDS, RoundRow)


def read_sites(folder: Path) -> list[SiteRow]:
    """sites.csv of a run directory; `DataError` names the file and what is wrong with it."""
    return _read(folder / SITES, SiteRow)


def _columns(kind: type[Line], where_used: bool) -> list[str]:
    """The columns of a table, with those that only some tables have or without."""
    wanted = (True, "where used") if where_used else (True,)
    return [f.name for f in fields(kind) if f.metadata.get("column", True) in wanted]


def _write(path: Path, kind: type[Line], rows: Iterable[Line]) -> None:
    lines, text = list(rows), io.StringIO()
    columns = _columns(kind, any(isinstance(row, RoundRow) and row.averaged for row in lines))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(getattr(row, c)) for c in columns] for row in lines])
    write_atomically(path, text.getvalue().encode())


def _cell(value: object) -> object:
    if value is None:
        return NOT_MEASURED
    return f"{value:.6f}" if isinstance(value, float) else value


def _read(path: Path, kind: type[Line]) -> list[Line]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = csv.reader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}). The run is incomplete.") from None
    except ValueError:
        raise DataError(f"{path}: is empty. The run is incomplete.") from None
    columns = _columns(kind, where_used="averaged" in header)
    if header != columns:
        raise DataError(
            f"{path}: the columns are {','.join(header)}; accepted are {','.join(columns)}. Run "
            "it again with this version."
        )
    adapter: TypeAdapter[Line] = TypeAdapter(kind)
    return [_row(path, number, adapter, columns, line) for number, line in enumerate(lines, 2)]


def _row(
    path: Path, number: int, adapter: TypeAdapter[Line], columns: Sequence[str], line: list[str]
) -> Line:
    """One line; `DataError` names it and its first wrong cell."""
    if len(line) != len(columns):
        raise DataError(f"{path}: line {number} has {len(line)} cells, not {len(columns)}.")
    cells: dict[str, Any] = {
        name: None if cell == NOT_MEASURED else cell
        for name, cell in zip(columns, line, strict=True)
    }
    try:
        return adapter.validate_python(cells)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise DataError(f"{path}: line {number}: {name} is {cells[name]!r}.") from None
