"""Evaluations of several small sites that share batches of the network and calls of scikit-learn.

In a simulation of many sites a worker answers several of them in one call, and all are sent the
same weights. Each small site has a place of its own in batches of `BATCH` rows, whether others are
in these or not: so its answer has the same bits, whichever sites are in the call.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from clients.local_training import network_for
from clients.simulated_sites import Site, open_site, open_sites
from clients.validation_reply import Probabilities
from fl.config.run_config import LOCAL, POOLED
from fl.config.strategy_traits import strategy_traits
from fl.data.cohort import Cohort
from fl.evaluation.decisions.decision_rule import DecisionRule, answer
from fl.evaluation.group_evaluation import Answered, GroupMeasures, evaluate_groups
from fl.messages.job import Job
from fl.models.network_input import network_input
from fl.training.loop import predict
from fl.training.state_dict import Weights, local_entries, set_weights
from partitions.splits import TEST, TRAIN

BATCH = 32  # rows
MOST_ROWS = 16  # of a small site: with more, few sites could share a batch


@dataclass(frozen=True, kw_only=True)
class TestMeasures:
    """A site's test as it is reported, and its measures: (example, class) all arrays."""

    calibrated: Probabilities
    decided: NDArray[np.bool_]
    measures: GroupMeasures  # of the classes that are not too rare to leave the site


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What was found for several sites at once, while a call is answered."""

    predicted: dict[tuple[str, str], Probabilities] = field(default_factory=dict)  # site and split
    measured: dict[str, TestMeasures] = field(default_factory=dict)  # site


_shared: ContextVar[Shared] = ContextVar("shared")


def predict_split(network: nn.Module, site: Site, split: str, job: Job) -> Probabilities:
    """Probabilities (example, class) of a split of a site's records, by the weights loaded."""
    cohort = site.splits[split]
    first = first_rows(job, split).get(site.name)
    if first is None:
        return predict(network, cohort, device=job.config.device)
    return predict(network, cohort, batch_size=BATCH, places=first + np.arange(n_crops(cohort)))


def n_crops(cohort: Cohort) -> int:
    """How many crops of a cohort a prediction reads."""
    return len(cohort.even_crops(cohort.task.crops)[0])


def first_rows(job: Job, split: str) -> Mapping[str, int]:
    """The first row of each small site's place in a batch; empty where sites share no batches."""
    config = job.config
    if not job.shares_batches:
        return {}
    partition = (job.workspace, job.shards, config.task, config.skews, config.seed)
    return _first_rows(partition, config.model, config.freeze, split)


@lru_cache(maxsize=8)
def _first_rows(partition: tuple[Any, ...], model: str, freeze: str, split: str) -> dict[str, int]:
    """The same for the sites of a partition, which `open_sites` knows by these arguments.

    Places follow each other in the order in which the server asks sites, so that those of one call
    fill batches. Networks that read rows of neighbours share none: theirs are full.
    """
    rows: dict[str, int] = {}
    if network_input(network_for(model, partition[2], freeze)).row > 1:
        return rows
    sites, end = open_sites(*partition), 0
    for name in sorted(sites, key=lambda name: (-len(sites[name].splits[TRAIN]), name)):
        count = n_crops(sites[name].splits[split])
        if 0 < count <= MOST_ROWS:
            rows[name] = end if end + count <= BATCH else 0
            end = rows[name] + count
    return rows


def places_together(rows: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """The places of several sites' crops in as few batches as it takes: (crop,), by site.

    `rows`: the first row of each site's place in a batch, and how many crops it has.
    """
    taken: list[NDArray[np.bool_]] = []
    places = []
    for first, count in rows:
        place = slice(first, first + count)
        number = next((n for n, batch in enumerate(taken) if not batch[place].any()), len(taken))
        if number == len(taken):
            taken.append(np.zeros(BATCH, dtype=bool))
        taken[number][place] = True
        places.append(number * BATCH + first + np.arange(count))
    return np.concatenate(places)


def predicted_before(site: Site, split: str) -> Probabilities | None:
    """What was predicted together with other sites for this request; None if nothing was."""
    return _shared.get(Shared()).predicted.get((site.name, split))


def measure_test(site: Site, p: Probabilities, rule: DecisionRule, seed: int) -> TestMeasures:
    """The measures of a site's test, by the probabilities of a model: (example, class).

    Those that were found together with other sites' for this request, where there are any.
    """
    before = _shared.get(Shared()).measured.get(site.name)
    return before or _measure_tests([(site, p)], rule, seed)[0]


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests of one call, which come with the same weights."""

    job: Job
    weights: Weights
    # Of each that needs predictions: the site's number, the split, and how a test is decided.
    evaluations: Sequence[tuple[int, str, DecisionRule | None]]


@contextlib.contextmanager
def evaluated_together(read: Callable[[], Requests | None]) -> Iterator[None]:
    """Evaluate what small sites need for the requests that `read` returns.

    `predicted_before` and `measure_test` know the results until the context ends. Where this fails
    each site evaluates by itself, so that an error costs the site alone whose records are at fault.
    """
    found = Shared()
    try:
        if (requests := read()) is not None:
            _evaluate(requests, found)
    except Exception as error:
        logging.getLogger("heartfed").debug("sites evaluate one by one", exc_info=error)
        found = Shared()
    token = _shared.set(found)
    try:
        yield
    finally:
        _shared.reset(token)


def _evaluate(requests: Requests, found: Shared) -> None:
    """Put into `found` what the small sites of these requests need."""
    job = requests.job
    for asked in _small_sites(requests):
        together = _predict_sites(job, requests.weights, asked.split, asked.sites)
        found.predicted.update({(site.name, asked.split): p for site, p in together})
        if asked.split == TEST and asked.rule is not None:
            tested = _measure_tests(together, asked.rule, job.config.seed)
            names = [site.name for site in asked.sites]
            found.measured.update(zip(names, tested, strict=True))


def may_share(job: Job) -> bool:
    """Whether the sites of a training are many, and predict with the weights that all are sent."""
    config = job.config
    own = local_entries(config.strategy, config.model, config.task, config.freeze)
    return job.shares_batches and job.strategy not in (LOCAL, POOLED) and not own


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What several small sites are asked to evaluate in the same way."""

    split: str
    rule: DecisionRule | None  # None: probabilities are all that is asked for
    sites: list[Site] = field(default_factory=list)


def _small_sites(requests: Requests) -> Iterable[_Asked]:
    """The small sites among those asked, by the split that each predicts and how it decides."""
    job, asked = requests.job, dict[tuple[str, int], _Asked]()
    for number, split, rule in requests.evaluations:
        if split == TEST and strategy_traits(job.config.strategy).own_models:
            continue  # each may test another model than the one it is sent
        site = open_site(job, number)
        if site.name in first_rows(job, split):
            # Requests with the same rule are read into one object.
            asked.setdefault((split, id(rule)), _Asked(split=split, rule=rule)).sites.append(site)
    return asked.values()


def _predict_sites(
    job: Job, weights: Weights, split: str, sites: Sequence[Site]
) -> list[tuple[Site, Probabilities]]:
    """Each site with its probabilities (example, class)."""
    config = job.config
    network = network_for(config.model, config.task, config.freeze)
    set_weights(network, weights)
    cohorts, rows = [site.splits[split] for site in sites], first_rows(job, split)
    places = places_together(
        [(rows[site.name], n_crops(cohort)) for site, cohort in zip(sites, cohorts, strict=True)]
    )
    p = predict(network, Cohort.joined(cohorts), batch_size=BATCH, places=places)
    ends = np.cumsum([len(cohort) for cohort in cohorts])
    return list(zip(sites, np.split(p, ends[:-1]), strict=True))


def _measure_tests(
    tests: Sequence[tuple[Site, Probabilities]], rule: DecisionRule, seed: int
) -> list[TestMeasures]:
    """The measures of several sites' tests, each by a model's probabilities: (example, class)."""
    answers, groups = [], []
    for site, p in tests:
        cohort = site.splits[TEST]
        answers.append(answer(rule, p, cohort.sources, cohort.task.classes))
        groups.append(Answered(cohort.without_rare(site.min_count), *answers[-1]))
    return [
        TestMeasures(calibrated=calibrated, decided=decided, measures=measures)
        for (calibrated, decided), measures in zip(
            answers, evaluate_groups(groups, seed), strict=True
        )
    ]
