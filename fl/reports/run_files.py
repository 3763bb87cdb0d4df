"""A finished run as its files tell it: everything that a page may say is read here."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.thresholds import Thresholds, decide
from fl.util.errors import DataError

Row = Mapping[str, Any]
CENTRAL, UNSEEN = "central", "unseen"
NOT_FEDERATED = ("local", "pooled")
TEXTS = ("strategy", "source", "record", "patient", "site")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Lines of predictions.csv, column by column."""

    classes: tuple[str, ...]
    strategy: NDArray[np.str_]  # (line,)
    source: NDArray[np.str_]
    record: NDArray[np.str_]
    patient: NDArray[np.str_]
    site: NDArray[np.str_]
    y: NDArray[np.int8]  # (line, class), -1 where not annotated
    p: NDArray[np.float64]  # (line, class)

    def __len__(self) -> int:
        return len(self.record)

    def take(self, rows: NDArray[Any]) -> "Predictions":
        """Only these lines."""
        texts = {name: getattr(self, name)[rows] for name in TEXTS}
        return Predictions(classes=self.classes, y=self.y[rows], p=self.p[rows], **texts)

    def of(self, strategy: str, site: str) -> "Predictions":
        """What one strategy's model said of the test records of one site (or of `central`)."""
        return self.take((self.strategy == strategy) & (self.site == site))

    def predicted(self, thresholds: Mapping[str, Thresholds] | None) -> NDArray[np.bool_]:
        """(line, class) which classes the model says are present."""
        return decide(self.p, self.source, thresholds, self.classes)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One completed run directory."""

    folder: Path
    facts: dict[str, Any]  # run.json
    summary: dict[str, Any]
    partition: list[dict[str, str]]
    rounds: list[dict[str, str]]
    history: list[dict[str, str]]  # sites.csv
    predictions: Predictions

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.facts["config"])

    @property
    def task(self) -> str:
        return str(self.summary["task"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.summary["classes"])

    @property
    def synthetic(self) -> tuple[str, ...]:
        """Names of the sources behind which no patient stands."""
        return tuple(self.facts.get("synthetic", ()))

    @property
    def strategies(self) -> dict[str, dict[str, Any]]:
        return dict(self.summary["strategies"])

    @property
    def federated(self) -> tuple[str, ...]:
        return tuple(name for name in self.strategies if name not in NOT_FEDERATED)

    @property
    def main(self) -> str:
        """The strategy the run is judged by: the one its settings name, else the first."""
        named = str(self.config.get("strategy", ""))
        known = self.federated or tuple(self.strategies)
        return named if named in known else known[0]

    @property
    def comparison(self) -> dict[str, Any] | None:
        """Budget and differences, where the run was made with --compare."""
        found = self.summary.get("comparison")
        return dict(found) if found else None

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """Names of the hospitals, in order."""
        return tuple(sorted(self.dealt | set(self.strategies[self.main].get("sites") or {})))

    @cached_property
    def dealt(self) -> set[str]:
        """Names of the hospitals whose records are known here."""
        return {row["site"] for row in self.partition} - {CENTRAL, UNSEEN}

    @property
    def deployed(self) -> bool:
        """Whether real hospitals trained, and not parts of a simulation."""
        return self.facts.get("engine") == "deployment"

    @property
    def has_label_counts(self) -> bool:
        """Whether it is known how many records of each class the sites hold."""
        return all(None not in row["labels"].values() for row in self.facts["sites"])


def read_run(folder: Path) -> Run:
    """The run in a folder; `DataError` if there is none or it has not been completed."""
    facts = _json(folder / "run.json")
    if facts.get("status") != "completed":
        raise DataError(
            f"{folder}: the run is {facts.get('status', 'of unknown status')}, not completed. Go "
            f"on with it: python run_sim.py --resume {folder}"
        )
    summary = _json(folder / "summary.json")
    missing = [
        f"{name} lacks {key}"
        for name, content, keys in (
            ("run.json", facts, ("config", "data", "sites")),
            ("summary.json", summary, ("task", "classes", "strategies")),
        )
        for key in keys
        if not content.get(key) and not (key == "data" and _may_hold_none(facts))
    ]
    if missing:
        raise DataError(f"{folder}: {missing[0]}. Run it again with this version.")
    return Run(
        folder=folder,
        facts=facts,
        summary=summary,
        partition=_table(folder / "partition.csv"),
        rounds=_table(folder / "rounds.csv"),
        history=_table(folder / "sites.csv"),
        predictions=_predictions(folder / "predictions.csv", tuple(summary["classes"])),
    )


def _may_hold_none(facts: Mapping[str, Any]) -> bool:
    """The coordinator of real hospitals may hold no recording at all."""
    return facts.get("engine") == "deployment" and "data" in facts


def read_seeds(folder: Path) -> dict[str, Any]:
    """seeds.json of a run repeated over several seeds."""
    return _json(folder / "seeds.json")


def is_repeated(folder: Path) -> bool:
    """Whether the folder holds one run directory per seed."""
    return (folder / "seeds.json").is_file()


def value_of(cell: str) -> float | None:
    """A number of a CSV file; None for `n/a`."""
    return None if cell in ("", "n/a") else float(cell)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Name a run directory, e.g. "
            "runs/20260101-120000."
        ) from None
    except ValueError:
        raise DataError(f"{path}: is not valid JSON. Name a run directory.") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds no object. Name a run directory.")
    return found


def _table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}). The run is not whole.") from None


def _predictions(path: Path, classes: tuple[str, ...]) -> Predictions:
    rows = _table(path)
    try:
        y = [[int(row[f"y_{c}"] or -1) for c in classes] for row in rows]
        p = [[float(row[f"p_{c}"]) for c in classes] for row in rows]
        texts = {name: np.array([row[name] for row in rows], dtype=np.str_) for name in TEXTS}
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: is not as a run writes it ({error}).") from None
    shape = (len(rows), len(classes))
    return Predictions(
        classes=classes,
        y=np.array(y, dtype=np.int8).reshape(shape),
        p=np.array(p, dtype=np.float64).reshape(shape),
        **texts,
    )
