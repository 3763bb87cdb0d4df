"""Trainings of one comparison measured on the same records: what each is better or worse by."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from fl.config.run_config import LOCAL, POOLED
from fl.config.strategy_traits import POOLED_PERSONAL, strategy_traits, trains_as
from fl.evaluation.bootstrap import BootstrapEstimate, bootstrap_estimates, weighted_mean
from fl.evaluation.difference_sentences import difference_sentence, sites_above_sentence
from fl.evaluation.margins import non_inferior
from fl.evaluation.metrics import scores
from fl.evaluation.paired_bootstrap import (
    METRICS,
    Difference,
    Estimates,
    difference,
    holm,
    is_significant,
    share_interval,
)
from fl.evaluation.predictions import Predictions
from fl.util.json_record import JsonRecord

SERVER_GROUPS = ("central", "unseen")  # groups that no site holds
LEVEL = 0.05  # of a significant p


class ComparisonRow(JsonRecord):
    """One training minus another, on one group of test records or over the sites."""

    strategy: str
    against: str
    where: str  # `central`, `unseen`, `mean_site` or `site:` and its name
    metric: str  # a name of METRICS
    value: float | None
    low: float | None  # 95% interval; None where there are too few patients
    high: float | None
    n_patients: int
    sentence: str
    p_value: float | None = None  # two-sided; None without an interval
    p_adjusted: float | None = None  # of a site: corrected for the number of sites, by Holm
    non_inferior: bool | None = None  # by MARGINS; None if not against pooled training

    @property
    def difference(self) -> Difference:
        return Difference(self.value, self.low, self.high, self.n_patients, self.p_value)

    @property
    def significant_adjusted(self) -> bool:
        """Whether it is significant after the correction for the number of sites, too."""
        adjusted = self.p_adjusted is not None and self.p_adjusted < LEVEL
        return adjusted and is_significant(self.difference)

    @property
    def site(self) -> str | None:
        """Name of the site it was measured at; None for every other group."""
        kind, colon, name = self.where.partition(":")
        return name if colon and kind == "site" else None


class SitesAbove(JsonRecord):
    """At how many sites one training is better than another."""

    strategy: str
    against: str
    metric: str
    n_above: int  # sites with a difference above zero
    n_sites: int  # sites with a difference
    low: float | None  # exact binomial 95% interval of the share; None of fewer than ten sites
    high: float | None
    sentence: str


class Budget(JsonRecord):
    """What every training of a comparison was given, and the gradient steps each took."""

    rounds: int
    local_epochs: int
    steps: dict[str, int | None]


class Comparison(JsonRecord):
    """The part of summary.json that --compare adds."""

    budget: Budget
    differences: tuple[ComparisonRow, ...]
    sites_above: tuple[SitesAbove, ...] = ()


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
        averaged: Collection[str] | None = None,
    ) -> None:
        """`averaged`: the classes that macro averages may take; None: all."""
        self._seed, self._averaged = seed, averaged
        self._groups: dict[tuple[str, str], Predictions] = {}
        for part in predictions:
            self._groups |= part.by_model_and_site()
        self._figures: dict[tuple[str, str], Estimates] = {}

    @property
    def sites(self) -> list[str]:
        """Every site with a test record."""
        return sorted({site for _, site in self._groups} - set(SERVER_GROUPS))

    def patients(self, strategy: str, where: str) -> set[str]:
        """Names of the patients of a group that a training was tested on."""
        return {p for lines in self._lines(strategy, where) for p in lines.patient.tolist()}

    def same_patients(self, one: str, other: str, where: str) -> bool:
        """Not so where a site failed in a fold of one of the trainings."""
        return self.patients(one, where) == self.patients(other, where)

    def at(self, strategy: str, where: str) -> Estimates | None:
        """One training on one group.

        On records of no site the mean of its models: of `local` there is one for each site, and
        of a run over folds one for each fold. A site's folds are one group.
        """
        key = (strategy, where)
        if key not in self._figures and (lines := self._lines(strategy, where)):
            if where in SERVER_GROUPS:
                self._figures[key] = self._mean_over_folds(lines, where)
            else:
                self._figures[key] = self._one(lines[0], where)
        return self._figures.get(key)

    def _lines(self, strategy: str, where: str) -> list[Predictions]:
        """What a training's models predicted for a group."""
        return [
            group
            for (name, site), group in self._groups.items()
            if site == where and (name == strategy or _is_local(name, strategy, where))
        ]

    def _mean_over_folds(self, models: Sequence[Predictions], where: str) -> Estimates:
        """The mean over the folds, each the mean over its models."""
        folds: dict[str, list[Estimates]] = {}
        for model in models:
            for fold in np.unique(model.fold).tolist():
                lines = model.take(model.fold == fold)
                folds.setdefault(fold, []).append(self._one(lines, where))
        return _mean_of_models([_mean_of_models(of_fold) for of_fold in folds.values()])

    def _one(self, group: Predictions, where: str) -> Estimates:
        """One model on one group; on records of no site the mean over sources, by patients."""
        if where not in SERVER_GROUPS:
            return self._estimates(group, where)
        parts, weights = [], []
        for source in np.unique(group.source).tolist():
            part = group.take(group.source == source)
            parts.append(self._estimates(part, f"{where}/{source}"))
            weights.append(float(len(set(part.patient.tolist()))))
        return {m: weighted_mean([part[m] for part in parts], weights) for m in METRICS}

    def _estimates(self, part: Predictions, group: str) -> Estimates:
        found = scores(
            part.labels,
            part.probabilities,
            part.decided,
            part.classes,
            part.patient,
            averaged=self._averaged,
            brief=True,
        )
        return bootstrap_estimates(
            found,
            part.labels,
            part.probabilities,
            part.decided,
            part.patient,
            self._seed,
            group=group,
        )


def _is_local(name: str, strategy: str, where: str) -> bool:
    """Whether it is a site's own model, on records of no site."""
    return strategy == LOCAL and where in SERVER_GROUPS and name.startswith(f"{LOCAL}-")


def _mean_of_models(models: Sequence[Estimates]) -> Estimates:
    """The mean over models on the same records, in every draw."""
    even = [1.0] * len(models)
    return {m: weighted_mean([one[m] for one in models], even, paired=True) for m in METRICS}


def comparison(
    summaries: Mapping[str, ComparedTraining],
    predictions: Sequence[Predictions],
    seed: int,
    rounds: int,
    local_epochs: int,
    averaged: Collection[str] | None = None,
) -> Comparison:
    """Budget and differences of trainings on the same records; `summaries` by name, in order.

    `averaged`: the classes that macro averages may take; None: all.
    """
    steps = {name: summary.gradient_steps for name, summary in summaries.items()}
    measured = MeasuredTrainings(predictions, seed, averaged)
    rows = tuple(
        row
        for strategy in summaries
        for against in _rivals(strategy)
        if strategy not in (LOCAL, against) and against in summaries
        for row in differences(measured, strategy, against, _groups(strategy, summaries))
    )
    return Comparison(
        budget=Budget(rounds=rounds, local_epochs=local_epochs, steps=steps),
        differences=rows,
        sites_above=tuple(sites_above(rows)),
    )


def _rivals(strategy: str) -> list[str]:
    """What a training is compared with: beside local and pooled, what it differs from in one thing.

    That is the training whose rounds it takes, and pooled training followed by the same.
    """
    others = (trains_as(strategy), strategy_traits(strategy).after_pooled)
    return [LOCAL, POOLED, *(name for name in others if name and name != strategy)]


def _groups(strategy: str, compared: Collection[str]) -> tuple[str, ...]:
    """The server's groups in which a training is compared with others.

    None where its model of all is another training's that is compared too: that one's rows have
    the differences from others, and between the two there is none.
    """
    same = POOLED if strategy == POOLED_PERSONAL else trains_as(strategy)
    if same == strategy or same not in compared:
        return SERVER_GROUPS
    return ()


def differences(
    measured: MeasuredTrainings,
    strategy: str,
    against: str,
    groups: Sequence[str] = SERVER_GROUPS,
) -> Iterator[ComparisonRow]:
    """One training minus another, at the sites and in `groups` of the server's records.

    Only where both were measured on the same patients.
    """
    pairs = {
        where: (one, other)
        for where in (*groups, *measured.sites)
        if measured.same_patients(strategy, against, where)
        and (one := measured.at(strategy, where))
        and (other := measured.at(against, where))
    }
    people = {where: len(measured.patients(strategy, where)) for where in pairs}
    for metric in METRICS:
        found = {
            where: difference(one[metric], other[metric], people[where])
            for where, (one, other) in pairs.items()
        }
        sites = [where for where in found if where not in SERVER_GROUPS]
        adjusted = dict(zip(sites, holm([found[s].p_value for s in sites]), strict=True))
        known = [site for site in sites if found[site].value is not None] or sites
        if sites:
            ours, theirs = (_mean([pairs[site][side][metric] for site in known]) for side in (0, 1))
            found["mean_site"] = difference(ours, theirs, sum(people[site] for site in known))
        for where, gap in found.items():
            yield _row(strategy, against, where, metric, gap, adjusted.get(where, gap.p_value))


def sites_above(rows: Sequence[ComparisonRow]) -> Iterator[SitesAbove]:
    """At how many sites each training is better than each other, by metric."""
    by_pair: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row.site is not None and row.value is not None:
            by_pair.setdefault((row.strategy, row.against, row.metric), []).append(row.value)
    for (strategy, against, metric), values in by_pair.items():
        n_above, n_sites = sum(value > 0 for value in values), len(values)
        low, high = share_interval(n_above, n_sites)
        yield SitesAbove(
            strategy=strategy,
            against=against,
            metric=metric,
            n_above=n_above,
            n_sites=n_sites,
            low=low,
            high=high,
            sentence=sites_above_sentence(strategy, against, metric, [(n_above, n_sites)]),
        )


def _mean(sites: Sequence[BootstrapEstimate]) -> BootstrapEstimate:
    """The mean over sites, which count alike and are drawn independently."""
    return weighted_mean(sites, [1.0] * len(sites))


def _row(
    strategy: str,
    against: str,
    where: str,
    metric: str,
    found: Difference,
    p_adjusted: float | None,
) -> ComparisonRow:
    place = where if where in (*SERVER_GROUPS, "mean_site") else f"site:{where}"
    return ComparisonRow(
        strategy=strategy,
        against=against,
        where=place,
        metric=metric,
        **vars(found),
        p_adjusted=p_adjusted,
        non_inferior=non_inferior(against, metric, found.low),
        sentence=difference_sentence(strategy, against, place, metric, found),
    )
