"""The finished trainings of a run: kept on disk one by one, and written out side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.ecg.tasks import Task
from fl.evaluation.predictions import predictions_header, write_predictions
from fl.util.atomic_io import write_atomically
from server.rounds.checkpoints import Row
from server.rounds.history import write_history


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """One finished training: its place in summary.json and its lines of the tables."""

    name: str
    summary: dict[str, Any]
    rounds: list[Row]
    sites: list[Row]
    failures: list[Row]
    predictions: str  # lines of predictions.csv, without the header


def save_result(folder: Path, part: TrainingResult) -> TrainingResult:
    """Keep a finished training, so that a resumed run does not measure it again.

    Returns what a resumed run would read, so that both go on from the same.
    """
    write_predictions(_path(folder, part.name, "csv"), part.predictions)
    facts = {k: v for k, v in vars(part).items() if k != "predictions"}
    # Last, and whole or not at all: where it is, the training is over.
    write_atomically(_path(folder, part.name, "json"), json.dumps(facts).encode())
    return TrainingResult(**json.loads(json.dumps(facts)), predictions=part.predictions)


def load_result(folder: Path, name: str) -> TrainingResult | None:
    """A training that is over, or None."""
    path = _path(folder, name, "json")
    if not path.exists():
        return None
    return TrainingResult(
        **json.loads(path.read_text()), predictions=_path(folder, name, "csv").read_text()
    )


def write_tables(folder: Path, task: Task, parts: Sequence[TrainingResult]) -> None:
    """rounds.csv, sites.csv and predictions.csv, each whole or not at all."""
    write_history(folder, parts)
    header = ",".join(predictions_header(task)) + "\n"
    text = "".join(part.predictions for part in parts)
    write_predictions(folder / "predictions.csv", header + text)


def _path(folder: Path, name: str, kind: str) -> Path:
    return folder / "checkpoint" / "parts" / f"{name}.{kind}"
