"""The finished trainings of a run: kept on disk one by one, and written out side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.ecg.tasks import Task
from fl.evaluation.predictions import predictions_header, write_predictions
from fl.runs.listener import TableRow
from fl.util.atomic_io import write_atomically
from server.rounds.history import write_history


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """One finished training: its place in summary.json and its lines of the tables."""

    name: str
    summary: dict[str, Any]
    round_rows: list[TableRow]  # lines of rounds.csv
    site_rows: list[TableRow]  # lines of sites.csv
    failures: list[dict[str, Any]]  # round, site, reason
    predictions: str  # lines of predictions.csv, without the header


def save_result(folder: Path, result: TrainingResult) -> TrainingResult:
    """Keep a finished training, so that a resumed run does not evaluate it again.

    Returns what a resumed run would read, so that both go on from the same.
    """
    write_predictions(_path(folder, result.name, "csv"), result.predictions)
    facts = {k: v for k, v in vars(result).items() if k != "predictions"}
    # Last, and whole or not at all: if this file exists, the training is over.
    write_atomically(_path(folder, result.name, "json"), json.dumps(facts).encode())
    return TrainingResult(**json.loads(json.dumps(facts)), predictions=result.predictions)


def load_result(folder: Path, name: str) -> TrainingResult | None:
    """A finished training, or None if this one is not over."""
    path = _path(folder, name, "json")
    if not path.exists():
        return None
    return TrainingResult(
        **json.loads(path.read_text()), predictions=_path(folder, name, "csv").read_text()
    )


def write_tables(folder: Path, task: Task, results: Sequence[TrainingResult]) -> None:
    """rounds.csv, sites.csv and predictions.csv, each whole or not at all."""
    write_history(folder, results)
    header = ",".join(predictions_header(task)) + "\n"
    text = "".join(result.predictions for result in results)
    write_predictions(folder / "predictions.csv", header + text)


def _path(folder: Path, name: str, kind: str) -> Path:
    return folder / "checkpoint" / "parts" / f"{name}.{kind}"
