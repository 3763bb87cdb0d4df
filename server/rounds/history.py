"""rounds.csv and sites.csv of all trainings of a run, as far as they are."""

from collections.abc import Sequence
from pathlib import Path

from fl.runs.history_tables import write_history_tables
from server.rounds.site_requests import History


def write_history(folder: Path, trainings: Sequence[History]) -> None:
    """Write rounds.csv and sites.csv."""
    rounds = [row for training in trainings for row in training.rounds]
    write_history_tables(folder, rounds, [row for one in trainings for row in one.sites])
