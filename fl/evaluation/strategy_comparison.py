"""A comparison's part of summary.json, from the predictions and thresholds of every training."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.config.run_config import LOCAL, POOLED
from fl.ecg.tasks import Task
from fl.evaluation.difference_sentences import difference_sentence
from fl.evaluation.metrics import Labels, Probs
from fl.evaluation.paired_bootstrap import (
    METRICS,
    BootstrapEstimate,
    Estimates,
    bootstrap_estimates,
    difference,
    mean_estimate,
    worst_estimate,
)
from fl.evaluation.thresholds import Thresholds, decide

SERVER_GROUPS = ("central", "unseen")  # groups that no site holds
Row = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """One model's lines of predictions.csv on one group of test records."""

    rows: list[list[str]]  # source, record, patient, then labels, then probabilities
    classes: tuple[str, ...]

    @cached_property
    def sources(self) -> NDArray[np.str_]:
        return np.array([row[0] for row in self.rows])

    @cached_property
    def patients(self) -> NDArray[np.str_]:
        return np.array([row[2] for row in self.rows])

    @cached_property
    def labels(self) -> Labels:
        """(record, class): 1 yes, 0 no, -1 not annotated."""
        cells = [row[3 : 3 + len(self.classes)] for row in self.rows]
        return np.array([[int(v) if v else -1 for v in row] for row in cells], dtype=np.int8)

    @cached_property
    def p(self) -> Probs:
        return np.array([[float(v) for v in row[3 + len(self.classes) :]] for row in self.rows])


def read_groups(predictions: str, classes: tuple[str, ...]) -> dict[tuple[str, str], Group]:
    """Lines of predictions.csv by (strategy, site)."""
    found: dict[tuple[str, str], list[list[str]]] = {}
    for strategy, source, record, patient, site, _, *rest in csv.reader(predictions.splitlines()):
        found.setdefault((strategy, site), []).append([source, record, patient, *rest])
    return {key: Group(rows, classes) for key, rows in found.items()}


class MeasuredTrainings:
    """Every training's figures on every group, each computed once."""

    def __init__(
        self,
        task: Task,
        summaries: Mapping[str, Mapping[str, Any]],
        predictions: Sequence[str],
        seed: int,
    ) -> None:
        self._task, self._summaries, self._seed = task, summaries, seed
        self._groups: dict[tuple[str, str], Group] = {}
        for text in predictions:
            self._groups |= read_groups(text, task.classes)
        self._figures: dict[tuple[str, str], Estimates] = {}

    @property
    def sites(self) -> list[str]:
        """Every site with a test record."""
        return sorted({site for _, site in self._groups} - set(SERVER_GROUPS))

    def n_patients(self, where: str) -> int:
        """Test patients of a group."""
        people = (g.patients for (_, site), g in self._groups.items() if site == where)
        return len(set(next(people, np.array([])).tolist()))

    def at(self, strategy: str, where: str) -> Estimates | None:
        """One training on one group; of `local` on records of no site, the mean of its models."""
        key = (strategy, where)
        if key not in self._figures:
            if strategy == LOCAL and where in SERVER_GROUPS:
                names = [name for name, site in self._groups if site == where]
                each = [self._one(n, where) for n in names if n.startswith(f"{LOCAL}-")]
                if not each:
                    return None
                self._figures[key] = {m: mean_estimate([f[m] for f in each]) for m in METRICS}
            elif key in self._groups:
                self._figures[key] = self._one(strategy, where)
            else:
                return None
        return self._figures[key]

    def _one(self, name: str, where: str) -> Estimates:
        group = self._groups[name, where]
        predicted = decide(
            group.p, group.sources, self._thresholds(name, where), self._task.classes
        )
        return bootstrap_estimates(
            group.labels, group.p, predicted, group.patients, where, self._seed
        )

    def _thresholds(self, name: str, where: str) -> Mapping[str, Thresholds] | None:
        if name != LOCAL and not name.startswith(f"{LOCAL}-"):
            chosen: Mapping[str, Thresholds] | None = self._summaries[name]["thresholds"]
            return chosen
        # Every site that trains alone has thresholds of its own.
        by_site: Mapping[str, Mapping[str, Thresholds] | None]
        by_site = self._summaries[LOCAL]["thresholds_by_site"]
        return by_site[where if name == LOCAL else name.removeprefix(f"{LOCAL}-")]


def comparison(
    task: Task,
    summaries: Mapping[str, Mapping[str, Any]],
    predictions: Sequence[str],
    seed: int,
    budget: Mapping[str, int],
) -> dict[str, Any]:
    """Budget and differences of trainings on the same records; `summaries` by name, in order."""
    steps = {name: summary["gradient_steps"] for name, summary in summaries.items()}
    measured = MeasuredTrainings(task, summaries, predictions, seed)
    return {
        "budget": {**budget, "steps": steps},
        "differences": [
            row
            for strategy in summaries
            for against in (LOCAL, POOLED)
            if strategy not in (LOCAL, against)
            for row in differences(measured, strategy, against)
        ],
    }


def differences(measured: MeasuredTrainings, strategy: str, against: str) -> Iterator[Row]:
    """One training minus another, wherever both were measured."""
    pairs = {
        where: (one, other)
        for where in (*SERVER_GROUPS, *measured.sites)
        if (one := measured.at(strategy, where)) and (other := measured.at(against, where))
    }
    for metric in METRICS:
        both = {where: (one[metric], other[metric]) for where, (one, other) in pairs.items()}
        at_sites = {site: pair for site, pair in both.items() if site not in SERVER_GROUPS}
        known = {site: pair for site, pair in at_sites.items() if None not in _values(pair)}
        sites = known or at_sites
        people = {where: measured.n_patients(where) for where in both}
        merged = {
            where: (reduce([a for a, _ in sites.values()]), reduce([b for _, b in sites.values()]))
            for where, reduce in (("mean_site", mean_estimate), ("worst_site", worst_estimate))
            if sites
        }
        for where, pair in {**both, **merged}.items():
            n = sum(people[s] for s in sites) if where in merged else people[where]
            yield _row(strategy, against, where, metric, pair, n)


def _values(pair: tuple[BootstrapEstimate, BootstrapEstimate]) -> list[float | None]:
    return [figure.value for figure in pair]


def _row(
    strategy: str,
    against: str,
    where: str,
    metric: str,
    pair: tuple[BootstrapEstimate, BootstrapEstimate],
    n: int,
) -> Row:
    found = difference(*pair, n)
    place = where if where in (*SERVER_GROUPS, "mean_site", "worst_site") else f"site:{where}"
    return {
        "strategy": strategy,
        "against": against,
        "where": place,
        "metric": metric,
        **vars(found),
        "sentence": difference_sentence(strategy, against, place, metric, found),
    }
