"""The test on DS2 of the models that a federated run saved, with their own decision rules."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.beat.measures import Measured, measured, measured_on_peaks
from benchmarks.studies.beat.on_ds2 import OnDS2, with_and_without
from benchmarks.studies.beat.recipes import PREDICTED_AT_ONCE, answered
from fl.data.cohort import Cohort
from fl.datasets.mitdb import DS2, SAME_PATIENT
from fl.predict.saved_model import load_model
from fl.training.loop import predict
from fl.util.errors import ConfigError
from fl.util.file_digest import file_digest
from partitions.splits import TEST

STRATEGIES = ("fedavg", "pooled")
SOURCE = "mitdb"  # whose calibration and thresholds answer


@dataclass(frozen=True, kw_only=True)
class SavedWeights:
    """One model of a run."""

    path: Path
    strategy: str  # of STRATEGIES
    part: str  # the run that trained it, e.g. `seed-10 fold-1`

    @property
    def name(self) -> str:
        """The name of its results: `runs/fedavg/seed-10 fold-1`."""
        return f"runs/{self.strategy}/{self.part}"

    @property
    def digest(self) -> str:
        """The checksum of the weights."""
        return file_digest(self.path)


def saved_weights(run: Path) -> list[SavedWeights]:
    """The models of every seed and fold of a run directory.

    ConfigError if there are none, or if a run trained or validated on a patient of DS2.
    """
    found = list(_weights_below(run))
    if not found:
        raise ConfigError(
            f"--runs {run}: no weights/{STRATEGIES[0]}-best.safetensors in it or below it. Name "
            "the directory of a run of `python run_sim.py --task beat --compare fedavg`."
        )
    for folder in sorted({weights.path.parents[1] for weights in found}):
        _require_unseen(folder)
    return found


def _weights_below(run: Path) -> Iterator[SavedWeights]:
    for strategy in STRATEGIES:
        for path in sorted(run.glob(f"**/weights/{strategy}-best.safetensors")):
            part = " ".join(path.relative_to(run).parts[:-2])
            yield SavedWeights(path=path, strategy=strategy, part=part or "run")


def _require_unseen(folder: Path) -> None:
    """`ConfigError` if partition.csv gives a patient of DS2 to training or validation."""
    with (folder / "partition.csv").open(newline="", encoding="utf-8") as file:
        used = {
            line["record"].split("/")[0]
            for line in csv.DictReader(file)
            if line["source"] == SOURCE and line["split"] != TEST
        }
    twins = {SAME_PATIENT[name] for name in DS2 if name in SAME_PATIENT}
    if seen := sorted(used & (set(DS2) | twins)):
        raise ConfigError(
            f"--runs {folder}: its models were trained or validated on patients of DS2 (records "
            f"{', '.join(seen[:5])}), so DS2 does not test them. Name a run that keeps DS2 as "
            "its central records, as the beat task does by default."
        )


def evaluate_weights(weights: SavedWeights, ds2: OnDS2) -> dict[str, Measured]:
    """The measures of one model: of annotated beats, and of the beats that detectors find."""
    model = load_model(weights.path, task="beat")
    model.require_source(SOURCE)

    def answers(cohort: Cohort) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        p = predict(model.network, cohort, batch_size=PREDICTED_AT_ONCE, device=ds2.device)
        return answered(model.rule, p, cohort)

    cohort = ds2.annotated
    results = {"annotated": measured(cohort, *answers(cohort), with_and_without(cohort))}
    for detector, found in ds2.detected.items():
        results[detector] = measured_on_peaks(found, answers(found.cohort)[1])
    return results
