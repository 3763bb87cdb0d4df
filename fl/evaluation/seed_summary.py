"""What several seeds of one run have in common: mean and spread of every figure.

Another seed is another partition, other first weights and another order of records, so the
spread over seeds is that of the whole experiment, which no interval by patients shows.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from fl.evaluation.difference_sentences import seeds_sentence, sites_above_sentence
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.paired_bootstrap import METRICS
from fl.evaluation.strategy_comparison import Comparison, ComparisonRow
from fl.util.json_record import JsonRecord


class Spread(JsonRecord):
    """One figure over several seeds; None where no seed, or for `sd` only one, has a value."""

    mean: float | None
    low_seed: float | None
    high_seed: float | None
    sd: float | None  # n - 1
    values: tuple[float | None, ...]  # of each seed


class SeedDifference(JsonRecord):
    """One training minus another, with the figures of a `Spread`."""

    strategy: str
    against: str
    where: str
    metric: str
    mean: float | None
    low_seed: float | None
    high_seed: float | None
    sd: float | None
    values: tuple[float | None, ...]
    sentence: str


class SeedSitesAbove(JsonRecord):
    """At how many sites one training is better than another; another seed has other sites."""

    strategy: str
    against: str
    metric: str
    n_above: tuple[int, ...]  # of each seed
    n_sites: tuple[int, ...]
    sentence: str


class SeedSummary(JsonRecord):
    """What several seeds of one run have in common: seeds.json."""

    seeds: tuple[int, ...]
    task: str
    synthetic: bool
    strategies: dict[str, dict[str, dict[str, Spread]]]  # by name, where, metric
    differences: tuple[SeedDifference, ...]
    sites_above: tuple[SeedSitesAbove, ...] = ()


class MeasuredTraining(Protocol):
    """What is read of one training of one seed."""

    @property
    def central(self) -> GroupMeasures | None: ...

    @property
    def unseen(self) -> GroupMeasures | None: ...

    @property
    def sites(self) -> Mapping[str, GroupMeasures | None]: ...


class MeasuredRun(Protocol):
    """What is read of the run of one seed."""

    @property
    def task(self) -> str: ...

    @property
    def synthetic(self) -> bool: ...

    @property
    def strategies(self) -> Mapping[str, MeasuredTraining]: ...

    @property
    def comparison(self) -> Comparison | None: ...


def over_seeds(runs: Mapping[int, MeasuredRun]) -> SeedSummary:
    """The summary of all seeds, from the summary of each."""
    first = next(iter(runs.values()))
    return SeedSummary(
        seeds=tuple(runs),
        task=first.task,
        synthetic=first.synthetic,
        strategies={
            name: _spreads([run.strategies[name] for run in runs.values()])
            for name in first.strategies
        },
        differences=tuple(_differences([run.comparison for run in runs.values()])),
        sites_above=tuple(_sites_above([run.comparison for run in runs.values()])),
    )


def spread(values: Sequence[float | None]) -> Spread:
    """Mean, lowest, highest and standard deviation (n - 1) over the seeds that have a value."""
    known = [value for value in values if value is not None]
    return Spread(
        mean=statistics.fmean(known) if known else None,
        low_seed=min(known, default=None),
        high_seed=max(known, default=None),
        sd=statistics.stdev(known) if len(known) > 1 else None,
        values=tuple(values),
    )


def figures_of(training: MeasuredTraining) -> dict[tuple[str, str], float | None]:
    """(where, metric) -> value, of one training of one seed."""
    figures: dict[tuple[str, str], float | None] = {}
    sites = {name: measures for name, measures in training.sites.items() if measures}
    groups = {"central": training.central, "unseen": training.unseen}
    groups |= {f"site:{name}": measures for name, measures in sites.items()}
    for where, measures in groups.items():
        if measures:
            figures |= {(where, m): measures.estimate(m).value for m in METRICS}
    for metric in METRICS:
        values = [measures.estimate(metric).value for measures in sites.values()]
        known = [value for value in values if value is not None]
        figures["mean_site", metric] = statistics.fmean(known) if known else None
        figures["worst_site", metric] = min(known, default=None)
        figures["spread", metric] = statistics.pstdev(known) if known else None
    return figures


def _spreads(trainings: Sequence[MeasuredTraining]) -> dict[str, dict[str, Spread]]:
    """{where: {metric: spread}}, wherever any seed was measured."""
    by_seed = [figures_of(training) for training in trainings]
    spreads: dict[str, dict[str, Spread]] = {}
    for where, metric in dict.fromkeys(key for figures in by_seed for key in figures):
        values = [figures.get((where, metric)) for figures in by_seed]
        spreads.setdefault(where, {})[metric] = spread(values)
    return spreads


def _differences(comparisons: Sequence[Comparison | None]) -> Iterator[SeedDifference]:
    """Each difference once, over the seeds; none without a comparison."""
    by_seed = [
        {_key(row): row.value for row in found.differences} for found in comparisons if found
    ]
    for key in dict.fromkeys(key for values in by_seed for key in values):
        strategy, against, where, metric = key
        over = spread([values.get(key) for values in by_seed])
        yield SeedDifference(
            strategy=strategy,
            against=against,
            where=where,
            metric=metric,
            **dict(over),
            sentence=seeds_sentence(strategy, against, where, metric, over.values),
        )


def _sites_above(comparisons: Sequence[Comparison | None]) -> Iterator[SeedSitesAbove]:
    """The sites above zero of each seed; a seed that can measure no site has 0 of 0."""
    by_seed = [
        {(row.strategy, row.against, row.metric): row for row in found.sites_above}
        for found in comparisons
        if found
    ]
    for key in dict.fromkeys(key for rows in by_seed for key in rows):
        strategy, against, metric = key
        found = [rows.get(key) for rows in by_seed]
        counts = [(row.n_above, row.n_sites) if row else (0, 0) for row in found]
        yield SeedSitesAbove(
            strategy=strategy,
            against=against,
            metric=metric,
            n_above=tuple(n for n, _ in counts),
            n_sites=tuple(n for _, n in counts),
            sentence=sites_above_sentence(strategy, against, metric, counts),
        )


def _key(row: ComparisonRow) -> tuple[str, str, str, str]:
    """What tells differences apart."""
    return row.strategy, row.against, row.where, row.metric
