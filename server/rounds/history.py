"""rounds.csv and sites.csv of all trainings of a run, as far as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fl.runs.history_tables import RoundRow, SiteRow, write_history_tables


class History(Protocol):
    """A training with its lines of both tables so far."""

    @property
    def round_rows(self) -> list[RoundRow]: ...

    @property
    def site_rows(self) -> list[SiteRow]: ...


class FinishedTraining(History, Protocol):
    """A training of this run that is over."""

    @property
    def name(self) -> str: ...


def write_history(folder: Path, trainings: Sequence[History]) -> None:
    """Write rounds.csv and sites.csv of these trainings, one after the other."""
    rounds = [row for training in trainings for row in training.round_rows]
    sites = [row for training in trainings for row in training.site_rows]
    write_history_tables(folder, rounds, sites)
