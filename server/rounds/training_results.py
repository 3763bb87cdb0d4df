"""The finished trainings of a run: kept on disk one by one, and written out side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.ecg.tasks import Task
from fl.evaluation.predictions import Predictions, read_predictions, write_predictions
from fl.runs.bounded_files import read_json
from fl.runs.history_tables import RoundRow, SiteRow
from fl.runs.results import REMEDY, TrainingSummary
from fl.util.atomic_io import write_atomically
from server.rounds.history import write_history


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """One finished training: its place in summary.json and its lines of the tables."""

    name: str
    summary: TrainingSummary
    round_rows: list[RoundRow]
    site_rows: list[SiteRow]
    failures: list[dict[str, Any]]  # round, site, reason
    predictions: Predictions


def save_result(folder: Path, result: TrainingResult) -> TrainingResult:
    """Keep a finished training, so that a resumed run does not evaluate it again.

    Returns what a resumed run would read, so that both go on from the same; predictions are of
    seven decimals, and are the same without reading them.
    """
    write_predictions(_path(folder, result.name, "csv"), result.predictions)
    facts = {
        "name": result.name,
        "summary": result.summary.to_json(),
        "round_rows": [dict(vars(row)) for row in result.round_rows],
        "site_rows": [dict(vars(row)) for row in result.site_rows],
        "failures": result.failures,
    }
    # Last, and whole or not at all: if this file exists, the training is over.
    write_atomically(_path(folder, result.name, "json"), json.dumps(facts).encode())
    return _read(folder, result.name, result.predictions)


def load_result(folder: Path, task: Task, name: str) -> TrainingResult | None:
    """A finished training, or None; `DataError` if its files are not as they were written."""
    if not _path(folder, name, "json").exists():
        return None
    return _read(folder, name, read_predictions(_path(folder, name, "csv"), task.classes))


def _read(folder: Path, name: str, predictions: Predictions) -> TrainingResult:
    path = _path(folder, name, "json")
    facts = read_json(path)
    return TrainingResult(
        name=name,
        summary=TrainingSummary.from_json(facts["summary"], str(path), REMEDY),
        round_rows=[RoundRow(**row) for row in facts["round_rows"]],
        site_rows=[SiteRow(**row) for row in facts["site_rows"]],
        failures=facts["failures"],
        predictions=predictions,
    )


def write_tables(folder: Path, task: Task, results: Sequence[TrainingResult]) -> None:
    """rounds.csv, sites.csv and predictions.csv, each whole or not at all."""
    write_history(folder, results)
    predictions = Predictions.joined([result.predictions for result in results], task.classes)
    write_predictions(folder / "predictions.csv", predictions)


def _path(folder: Path, name: str, kind: str) -> Path:
    return folder / "checkpoint" / "parts" / f"{name}.{kind}"
