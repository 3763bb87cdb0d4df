"""rounds.csv and sites.csv: the run's history as other tools read it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fl.runs.listener import TableRow
from fl.util.atomic_io import write_atomically

ROUNDS = (
    "strategy",
    "round",
    "seconds",
    "participants",
    "failures",
    "train_loss",
    "val_loss",
    "val_macro_f1",
    "val_macro_auroc",
)
SITES = ("strategy", "round", "site", "split", "n_records", "loss", "macro_f1", "macro_auroc")


class History(Protocol):
    """A training with its lines of both tables so far."""

    @property
    def round_rows(self) -> list[TableRow]: ...

    @property
    def site_rows(self) -> list[TableRow]: ...


def write_table(path: Path, columns: Sequence[str], rows: Sequence[TableRow]) -> None:
    """Write a table whole or not at all; what could not be measured is "n/a"."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(row[c]) for c in columns] for row in rows])
    write_atomically(path, text.getvalue().encode())


def _cell(value: object) -> object:
    if value is None:
        return "n/a"
    return f"{value:.6f}" if isinstance(value, float) else value


def write_history(folder: Path, trainings: Sequence[History]) -> None:
    """Write rounds.csv and sites.csv of these trainings, one after the other."""
    write_table(folder / "rounds.csv", ROUNDS, [row for t in trainings for row in t.round_rows])
    write_table(folder / "sites.csv", SITES, [row for t in trainings for row in t.site_rows])
