"""Trainings of one comparison measured on the same records: what each is better or worse by."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from fl.config.run_config import LOCAL, POOLED
from fl.evaluation.difference_sentences import difference_sentence
from fl.evaluation.paired_bootstrap import (
    METRICS,
    BootstrapEstimate,
    Difference,
    Estimates,
    bootstrap_estimates,
    difference,
    mean_estimate,
    worst_estimate,
)
from fl.evaluation.predictions import Predictions
from fl.util.json_record import JsonRecord

SERVER_GROUPS = ("central", "unseen")  # groups that no site holds


class ComparisonRow(JsonRecord):
    """One training minus another, on one group of test records or over the sites."""

    strategy: str
    against: str
    where: str  # `central`, `unseen`, `mean_site`, `worst_site` or `site:` and its name
    metric: str  # a name of METRICS
    value: float | None
    low: float | None  # 95% interval; None where there are too few patients
    high: float | None
    n_patients: int
    sentence: str

    @property
    def difference(self) -> Difference:
        return Difference(self.value, self.low, self.high, self.n_patients)

    @property
    def site(self) -> str | None:
        """Name of the site it was measured at; None for every other group."""
        kind, colon, name = self.where.partition(":")
        return name if colon and kind == "site" else None


class Budget(JsonRecord):
    """What every training of a comparison was given, and the gradient steps each took."""

    rounds: int
    local_epochs: int
    steps: dict[str, int | None]


class Comparison(JsonRecord):
    """The part of summary.json that --compare adds."""

    budget: Budget
    differences: tuple[ComparisonRow, ...]


class ComparedTraining(Protocol):
    """What a comparison reads of a training's summary."""

    @property
    def gradient_steps(self) -> int | None: ...


class MeasuredTrainings:
    """Every training's figures on every group, each computed once."""

    def __init__(
        self,
        predictions: Sequence[Predictions],
        seed: int,
    ) -> None:
        self._seed = seed
        self._groups: dict[tuple[str, str], Predictions] = {}
        for part in predictions:
            self._groups |= part.by_model_and_site()
        self._figures: dict[tuple[str, str], Estimates] = {}

    @property
    def sites(self) -> list[str]:
        """Every site with a test record."""
        return sorted({site for _, site in self._groups} - set(SERVER_GROUPS))

    def n_patients(self, where: str) -> int:
        """Test patients of a group."""
        people = (g.patient for (_, site), g in self._groups.items() if site == where)
        return len(set(next(people, np.array([])).tolist()))

    def at(self, strategy: str, where: str) -> Estimates | None:
        """One training on one group; of `local` on records of no site, the mean of its models."""
        key = (strategy, where)
        if key not in self._figures:
            if strategy == LOCAL and where in SERVER_GROUPS:
                names = [name for name, site in self._groups if site == where]
                models = [self._one(n, where) for n in names if n.startswith(f"{LOCAL}-")]
                if not models:
                    return None
                self._figures[key] = {m: mean_estimate([f[m] for f in models]) for m in METRICS}
            elif key in self._groups:
                self._figures[key] = self._one(strategy, where)
            else:
                return None
        return self._figures[key]

    def _one(self, name: str, where: str) -> Estimates:
        group = self._groups[name, where]
        return bootstrap_estimates(
            group.labels,
            group.probabilities,
            group.decided,
            group.patient,
            where,
            self._seed,
        )


def comparison(
    summaries: Mapping[str, ComparedTraining],
    predictions: Sequence[Predictions],
    seed: int,
    rounds: int,
    local_epochs: int,
) -> Comparison:
    """Budget and differences of trainings on the same records; `summaries` by name, in order."""
    steps = {name: summary.gradient_steps for name, summary in summaries.items()}
    measured = MeasuredTrainings(predictions, seed)
    return Comparison(
        budget=Budget(rounds=rounds, local_epochs=local_epochs, steps=steps),
        differences=tuple(
            row
            for strategy in summaries
            for against in (LOCAL, POOLED)
            if strategy not in (LOCAL, against)
            for row in differences(measured, strategy, against)
        ),
    )


def differences(
    measured: MeasuredTrainings, strategy: str, against: str
) -> Iterator[ComparisonRow]:
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
            yield _row(strategy, against, where, metric, difference(*pair, n))


def _values(pair: tuple[BootstrapEstimate, BootstrapEstimate]) -> list[float | None]:
    return [figure.value for figure in pair]


def _row(strategy: str, against: str, where: str, metric: str, found: Difference) -> ComparisonRow:
    place = where if where in (*SERVER_GROUPS, "mean_site", "worst_site") else f"site:{where}"
    return ComparisonRow(
        strategy=strategy,
        against=against,
        where=place,
        metric=metric,
        **vars(found),
        sentence=difference_sentence(strategy, against, place, metric, found),
    )
