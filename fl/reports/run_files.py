"""A finished run as its files describe it: everything that a page may state is read here."""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fl.config.run_config import NOT_FEDERATED
from fl.evaluation.predictions import Predictions, read_predictions
from fl.evaluation.strategy_comparison import Comparison, ComparisonRow
from fl.reports.shown_sites import shown_sites
from fl.runs.history_tables import RoundRow, SiteRow, read_rounds, read_sites
from fl.runs.results import SEEDS, RunSummary, TrainingSummary, read_summary
from fl.runs.run_facts import DEPLOYMENT, RunFacts, read_run_facts
from fl.util.errors import DataError

CENTRAL, UNSEEN = "central", "unseen"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One completed run directory."""

    folder: Path
    facts: RunFacts
    summary: RunSummary
    partition: list[dict[str, str]]
    rounds: list[RoundRow]
    history: list[SiteRow]  # of each site, by round
    predictions: Predictions

    @property
    def config(self) -> dict[str, Any]:
        return self.facts.config

    @property
    def task(self) -> str:
        return self.summary.task

    @property
    def classes(self) -> tuple[str, ...]:
        return self.summary.classes

    @property
    def synthetic(self) -> tuple[str, ...]:
        """Names of the synthetic sources, whose records are not from real patients."""
        return self.facts.synthetic

    @property
    def simulated_rare(self) -> int:
        """Simulated recordings of rare classes that each site trained on beside its own."""
        return int(self.config.get("simulated_rare") or 0)

    @property
    def strategies(self) -> dict[str, TrainingSummary]:
        return self.summary.strategies

    @property
    def federated(self) -> tuple[str, ...]:
        return tuple(name for name in self.strategies if name not in NOT_FEDERATED)

    @property
    def main(self) -> str:
        """The strategy that the pages report on: the one in the settings, else the first."""
        named = str(self.config.get("strategy", ""))
        known = self.federated or tuple(self.strategies)
        return named if named in known else known[0]

    @property
    def comparison(self) -> Comparison | None:
        """Budget and differences, where the run was made with --compare."""
        return self.summary.comparison

    @property
    def differences(self) -> tuple[ComparisonRow, ...]:
        """Every difference between two trainings; none without --compare."""
        return self.comparison.differences if self.comparison else ()

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """Names of the hospitals, in order."""
        return tuple(sorted(self.dealt | set(self.strategies[self.main].sites)))

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The hospitals that pages name: all, or of very many those with the most patients."""
        patients = {row["site"]: row["patients"] for row in self.facts.sites}
        return shown_sites({site: patients.get(site) for site in self.sites})

    def shows(self, place: str | None) -> bool:
        """Whether pages name this place: it is no hospital, or one of `shown`."""
        return place in self.shown or place not in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.sites)

    @cached_property
    def dealt(self) -> set[str]:
        """Names of the hospitals whose records are known here."""
        return {row["site"] for row in self.partition} - {CENTRAL, UNSEEN}

    @property
    def folds(self) -> int:
        """Folds inside the sites: each patient of a site is tested once; 0 without folds."""
        return int(self.config.get("site_folds") or 0)

    @property
    def deployed(self) -> bool:
        """Whether the hospitals are real and not simulated."""
        return self.facts.engine == DEPLOYMENT

    @property
    def has_label_counts(self) -> bool:
        """Whether it is known how many records of each class the sites hold."""
        return all(None not in row["labels"].values() for row in self.facts.sites)


def read_run(folder: Path) -> Run:
    """The run in a folder; `DataError` if there is none or it has not been completed."""
    facts = read_run_facts(folder)
    summary = read_summary(folder)
    if not summary.strategies:
        raise DataError(f"{folder}: summary.json has no training. Run it again with this version.")
    return Run(
        folder=folder,
        facts=facts,
        summary=summary,
        partition=_partition(folder / "partition.csv"),
        rounds=read_rounds(folder),
        history=read_sites(folder),
        predictions=read_predictions(folder / "predictions.csv", summary.classes),
    )


def is_repeated(folder: Path) -> bool:
    """Whether the folder holds one run directory per seed."""
    return (folder / SEEDS).is_file()


def _partition(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}). The run is incomplete.") from None
