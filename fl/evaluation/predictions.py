"""predictions.csv: written and read in one place."""

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.ecg.tasks import Task
from fl.util.atomic_io import write_atomically

KEYS = ("strategy", "source", "record", "patient", "site", "split")


def predictions_header(task: Task) -> list[str]:
    """Columns of predictions.csv."""
    return [*KEYS, *(f"y_{c}" for c in task.classes), *(f"p_{c}" for c in task.classes)]


def predictions_text(
    cohort: Cohort, p: NDArray[np.float64], strategy: str, site: str, split: str
) -> str:
    """Lines of predictions.csv for one group; y is empty where it is not annotated."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for source, name, patient, labels, row in zip(
        cohort.sources.tolist(),
        cohort.names.tolist(),
        cohort.patients.tolist(),
        cohort.labels.tolist(),
        p.tolist(),
        strict=True,
    ):
        y = ["" if value < 0 else value for value in labels]
        keys = [strategy, source, name, patient, site, split]
        writer.writerow([*keys, *y, *(f"{v:.7f}" for v in row)])
    return text.getvalue()


def write_predictions(path: Path, text: str) -> None:
    """Write predictions whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
