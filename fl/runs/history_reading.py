"""rounds.csv and sites.csv as they are now: of a run that is going, or of damaged files.

`history_tables` reads the tables of a completed run and refuses a wrong cell. Here a wrong cell is
one without a value, a line without its name and number is left out, and both are counted.
"""

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fl.runs.bounded_files import read_bounded
from fl.runs.history_tables import NOT_MEASURED, ROUNDS, SITES, RoundRow, SiteRow

MOST_LINES = 200_000
LONGEST_NAME = 80  # characters of a site or strategy that are shown
LARGEST = 1e12  # a loss or a number of seconds above it is a damaged cell


@dataclass(frozen=True, kw_only=True)
class History:
    """The lines of both tables, and how many of their lines or cells could not be read."""

    rounds: tuple[RoundRow, ...] = ()
    sites: tuple[SiteRow, ...] = ()
    damaged: int = 0


class _Cells:
    """One line's cells by column; counts those that are wrong."""

    def __init__(self, line: Mapping[str, str]) -> None:
        self.line, self.damaged = line, 0

    def name(self, column: str) -> str | None:
        return (self.line.get(column) or "")[:LONGEST_NAME] or None

    def count(self, column: str) -> int | None:
        text = self.line.get(column) or ""
        # Nine digits: more would be no number of rounds, sites or records.
        if text.isascii() and text.isdecimal() and len(text) <= 9:
            return int(text)
        self.damaged += 1
        return None

    def number(self, column: str) -> float | None:
        text = self.line.get(column) or ""
        if text == NOT_MEASURED:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.inf
        if abs(value) <= LARGEST:  # false for what is no number too
            return value
        self.damaged += 1
        return None


def read_history(folder: Path) -> History:
    """Both tables of a run directory; `DataError` only if one is there and no file of a run's."""
    rounds, sites, damaged = [], [], 0
    for cells in _lines(folder / ROUNDS):
        row = _round(cells)
        damaged += cells.damaged or row is None
        rounds += [row] if row else []
    for cells in _lines(folder / SITES):
        at_site = _site(cells)
        damaged += cells.damaged or at_site is None
        sites += [at_site] if at_site else []
    return History(rounds=tuple(rounds), sites=tuple(sites), damaged=damaged)


def _lines(path: Path) -> Iterator[_Cells]:
    """Every line of a table; none if the run has not written it yet."""
    if not os.path.lexists(path):
        return
    text = read_bounded(path).decode("utf-8-sig", errors="replace").replace("\0", "")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, [])
        for number, line in enumerate(reader):
            if number == MOST_LINES:
                return
            yield _Cells(dict(zip(header, line, strict=False)))
    except csv.Error:
        yield _Cells({})  # a cell of more than 128 KiB: the rest is not read, and this is counted


def _round(cells: _Cells) -> RoundRow | None:
    strategy, number = cells.name("strategy"), cells.count("round")
    if strategy is None or number is None:
        return None
    seconds = cells.number("seconds")
    return RoundRow(
        strategy=strategy,
        round=number,
        seconds=math.nan if seconds is None else seconds,
        participants=cells.count("participants") or 0,
        failures=cells.count("failures") or 0,
        train_loss=cells.number("train_loss"),
        val_loss=cells.number("val_loss"),
        val_macro_f1=cells.number("val_macro_f1"),
        val_macro_auroc=cells.number("val_macro_auroc"),
        averaged=(cells.count("averaged") or 0) if "averaged" in cells.line else 0,
    )


def _site(cells: _Cells) -> SiteRow | None:
    strategy, number = cells.name("strategy"), cells.count("round")
    site, split = cells.name("site"), cells.name("split")
    if strategy is None or number is None or site is None or split is None:
        return None
    return SiteRow(
        strategy=strategy,
        round=number,
        site=site,
        split=split,
        n_records=cells.count("n_records") or 0,
        loss=cells.number("loss"),
        macro_f1=cells.number("macro_f1"),
        macro_auroc=cells.number("macro_auroc"),
    )
