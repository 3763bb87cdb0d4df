"""summary.json and seeds.json: what a run's trainings reached, written and read in one place."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, field_serializer, field_validator

from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.decisions.platt_scaling import PlattMap
from fl.evaluation.decisions.thresholds import Thresholds
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.seed_summary import SeedSummary
from fl.evaluation.strategy_comparison import Comparison
from fl.runs.bounded_files import read_json
from fl.util.atomic_io import write_atomically
from fl.util.json_record import JsonRecord

SUMMARY, SEEDS = "summary.json", "seeds.json"
REMEDY = "Run it again with this version."


Calibration = dict[str, dict[str, PlattMap]]  # by source and class


def decided_by(rule: DecisionRule | None) -> dict[str, Any]:
    """The fields of a `TrainingSummary` that say how its model decides."""
    if rule is None:
        return {"thresholds": None, "calibration": None}
    return {"thresholds": rule.thresholds, "calibration": rule.calibration}


class WorstSite(JsonRecord):
    """The site with the lowest macro-F1."""

    site: str
    macro_f1: float


class SiteMean(JsonRecord):
    """Means over the sites that could be measured."""

    macro_f1: float
    macro_auroc: float | None


class SiteSpread(JsonRecord):
    """How far the sites' macro-F1 lie apart."""

    macro_f1_sd: float
    macro_f1_range: float


class TrainingSummary(JsonRecord):
    """What one training reached on test records: one strategy's entry in summary.json.

    `local` is one training at every site: its groups are means over the sites' own models, and
    `..._by_site` holds what each model has of its own.
    """

    central: GroupMeasures | None  # None: there are no such test records
    unseen: GroupMeasures | None
    central_by_source: dict[str, GroupMeasures] = Field(default_factory=dict)
    sites: dict[str, GroupMeasures | None]  # None: a site that has, or sent, no measures
    # By source, of calibrated probabilities; None: several models, each with its own.
    thresholds: dict[str, Thresholds] | None
    calibration: Calibration | None = None
    best_round: int | None
    # Its weights are the mean of so many rounds up to the best one; None: that round's own.
    averaged: int | None = None
    last_counts: bool | None = None  # under differential privacy no round is chosen by validation
    thresholds_by_site: dict[str, dict[str, Thresholds] | None] = Field(default_factory=dict)
    calibration_by_site: dict[str, Calibration | None] = Field(default_factory=dict)
    best_round_by_site: dict[str, int] = Field(default_factory=dict)
    averaged_by_site: dict[str, int] = Field(default_factory=dict)  # 0: no mean
    # Of a run over folds, whose models each have thresholds and a best round of their own.
    best_round_by_fold: dict[str, int | None] = Field(default_factory=dict)
    averaged_by_fold: dict[str, int | None] = Field(default_factory=dict)
    central_by_site: dict[str, GroupMeasures | None] = Field(default_factory=dict)
    unseen_by_site: dict[str, GroupMeasures | None] = Field(default_factory=dict)
    rounds: int | None = None
    gradient_steps: int | None = None
    lr: float | None = None
    worst_site: WorstSite | None
    site_mean: SiteMean | None
    spread: SiteSpread | None

    @property
    def chosen(self) -> str:
        """The weights that were chosen, in words."""
        if not self.averaged or self.best_round is None:
            return f"round {'n/a' if self.best_round is None else self.best_round}"
        first = self.best_round - self.averaged + 1
        return f"the mean of rounds {first} to {self.best_round}"

    @property
    def chosen_how(self) -> str:
        """What chose them, in words."""
        if self.last_counts:
            return "the last round, as no other was validated"
        return "best on validation"

    @field_validator("sites", mode="before")
    @classmethod
    def _read_sites(cls, sites: Any) -> Any:
        """In JSON, a site without measures is an empty object."""
        if not isinstance(sites, dict):
            return sites
        return {name: measures or None for name, measures in sites.items()}

    @field_serializer("sites")
    def _write_sites(self, sites: dict[str, GroupMeasures | None]) -> dict[str, Any]:
        return {name: found.to_json() if found else {} for name, found in sites.items()}


class RunSummary(JsonRecord):
    """What a run reached: summary.json."""

    task: str
    synthetic: bool
    classes: tuple[str, ...]
    strategies: dict[str, TrainingSummary]
    comparison: Comparison | None = None


def write_summary(folder: Path, summary: RunSummary) -> None:
    """Write summary.json of a run directory, whole or not at all."""
    _write(folder / SUMMARY, summary)


def read_summary(folder: Path) -> RunSummary:
    """summary.json of a run directory; `DataError` if it is missing or not as runs write it."""
    path = folder / SUMMARY
    return RunSummary.from_json(read_json(path), str(path), REMEDY)


def write_seeds(folder: Path, summary: SeedSummary) -> None:
    """Write seeds.json of a parent of seed-*/ run directories, whole or not at all."""
    _write(folder / SEEDS, summary)


def read_seeds(folder: Path) -> SeedSummary:
    """seeds.json of a run repeated over several seeds; `DataError` as of `read_summary`."""
    path = folder / SEEDS
    return SeedSummary.from_json(read_json(path), str(path), REMEDY)


def _write(path: Path, record: JsonRecord) -> None:
    write_atomically(path, json.dumps(record.to_json(), indent=1).encode())
