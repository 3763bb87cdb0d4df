"""A deployed site: its own records, split by itself, and its own report.

The coordinator sends the run's settings. Folders, the smallest count that may leave and the device
are the hospital's own settings, and come from its SuperNode's configuration.
"""

import json
import logging
import platform
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import fl
from clients.deploy.site_policy.policy_file import policy_of
from clients.deploy.site_policy.privacy_budget import spent_budget
from clients.deploy.site_policy.request_check import require_same_version
from clients.deploy.site_policy.site_log import head_facts
from clients.deploy.site_settings import SiteSettings
from clients.simulated_sites import Site
from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare_all
from fl.datasets.source_selection import select_sources
from fl.ecg.tasks import TASKS
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.group_evaluation import GroupMeasures, evaluate_predicted
from fl.evaluation.predictions import read_predictions, write_predictions
from fl.explain.run_networks import keep_tested
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply
from fl.privacy.differential_privacy.guarantee import guarantee_of, is_private
from fl.privacy.egress_policy import NAME, SITE, permitted_report
from fl.runs.history_tables import write_history_tables
from fl.runs.results import RunSummary, TrainingSummary, decided_by, write_summary
from fl.runs.run_record import shard_facts
from fl.training.frozen import frozen_entries
from fl.training.state_dict import Weights
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, DataError
from fl.util.random_streams import stream
from partitions.partition import Partition, write_partition
from partitions.splits import TEST, TRAIN, VAL, split_site
from partitions.summary import site_rows

ARRANGED = 1000  # test examples, at most, in the picture of how the model arranges them


def open_site(job: Job, settings: SiteSettings) -> Site:
    """The site as this run sees it; `ConfigError` or `DataError` if it takes no part."""
    require_same_version(job)
    if job.config.task != settings.task:
        raise ConfigError(f"the run's task is {job.config.task!r}, this site's {settings.task!r}")
    # A network of this site's own may have no layers that could be frozen: this is reported first.
    frozen_entries(job.config.freeze, job.config.model, job.config.task)
    if not SITE.fullmatch(job.run):
        raise ConfigError(f"the run's name is {job.run!r}; names have letters, digits, '-', '_'")
    folder = Path(settings.folder) / "runs" / job.run
    splits = _splits(settings, job.config.seed)
    if not (folder / "partition.csv").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_site_partition(folder / "partition.csv", settings, job.config.seed)
    return Site(
        name=settings.site,
        splits=splits,
        folder=folder / "checkpoint" / "sites" / settings.site,
        min_count=settings.min_count,
        weights=folder / "weights",
    )


def with_site_device(job: Job, settings: SiteSettings) -> Job:
    """The run's settings with the device that this hospital has."""
    config = job.config.model_copy(update={"device": settings.device})
    return job.model_copy(update={"config": config})


@lru_cache(maxsize=2)
def site_cohort(settings: SiteSettings, workers: int = 1) -> Cohort:
    """All usable examples of the hospital, preprocessed when they are first asked for."""
    choice = select_sources(settings.run_config())
    for source in choice.sources.values():
        if not NAME.fullmatch(source.card.name):
            raise ConfigError(
                f"--sources names {source.card.name!r}. A source's name has letters, digits and "
                "'-', '_', '+', '.', at most 64 of them."
            )
    cache = Path(settings.cache_dir) if settings.cache_dir else default_cache_dir()
    task = TASKS[settings.task]
    shards = prepare_all(choice.sources, Path(settings.data_dir), task, cache, workers)
    cohort, _ = Cohort.open(task, list(shards.values())).without_duplicates()
    return cohort


@lru_cache(maxsize=2)
def site_partition(settings: SiteSettings, seed: int) -> Partition:
    """The hospital's patients to training, validation and test.

    Drawn from the stream that the simulation names by the site: a hospital that holds the
    patients a simulated site was dealt gets that site's split.
    """
    cohort = site_cohort(settings)
    _, person = np.unique(cohort.patients, return_inverse=True)
    positive = np.zeros((person.max() + 1, len(cohort.task.classes)), dtype=np.int64)
    np.add.at(positive, person, cohort.labels == 1)
    split = split_site(positive > 0, stream(seed, "split", settings.site))[person]
    n_patients = len(np.unique(person[split == TRAIN]))
    if n_patients < max(settings.min_count, 1):
        raise DataError(
            f"{settings.data_dir}: {n_patients} training patients are left, fewer than --min-count "
            f"{settings.min_count}. Add recordings of more patients."
        )
    return Partition(np.full(len(cohort), settings.site, dtype="U64"), split)


@lru_cache(maxsize=2)
def _splits(settings: SiteSettings, seed: int) -> dict[str, Cohort]:
    cohort, partition = site_cohort(settings), site_partition(settings, seed)
    return {s: cohort.take(partition.rows(settings.site, s)) for s in (TRAIN, VAL, TEST)}


def write_site_partition(path: Path, settings: SiteSettings, seed: int) -> None:
    """partition.csv of this site alone; it stays here."""
    write_partition(path, site_cohort(settings), site_partition(settings, seed))


def permitted_evaluation(evaluated: EvaluationReply, config: RunConfig) -> EvaluationReply:
    """A site's measures without what may not leave; under differential privacy none of a test."""
    if evaluated.report is None:
        return evaluated
    if is_private(config):
        return replace(evaluated, report=None, n_records=0, n_patients=0, loss_sum=0.0)
    permitted = permitted_report(evaluated.report.to_json())
    return replace(evaluated, report=GroupMeasures.from_json(permitted, "the site's measures"))


def write_site_report(
    site: Site,
    settings: SiteSettings,
    job: Job,
    rule: DecisionRule,
    number: int,
    weights: Weights,
) -> None:
    """The site's own results, all classes, as a run directory that never leaves it.

    `rule` is the one that decided: of a model of the site's own, its own. `weights` are those that
    were sent; they stay, so that the pages can say where they looked.
    """
    cohort, task = site.splits[TEST], TASKS[job.config.task]
    folder = site.folder.parents[2]
    predictions = read_predictions(site.folder / f"predictions-{job.strategy}.csv", task.classes)
    write_predictions(folder / "predictions.csv", predictions)
    measures = evaluate_predicted(
        cohort, predictions.probabilities, predictions.decided, job.config.seed
    )
    result = TrainingSummary(
        central=None,
        unseen=None,
        sites={site.name: measures},
        **decided_by(rule),
        best_round=number,
        worst_site=None,
        site_mean=None,
        spread=None,
    )
    summary = RunSummary(
        task=job.config.task,
        synthetic=False,
        classes=task.classes,
        strategies={job.strategy: result},
    )
    write_atomically(folder / "run.json", json.dumps(_facts(job, settings), indent=1).encode())
    write_summary(folder, summary)
    write_history_tables(folder, (), ())  # the coordinator has the history
    keep_tested(site.folder, job.strategy, weights)
    _write_pages(folder)


def _facts(job: Job, settings: SiteSettings) -> dict[str, Any]:
    """run.json of this site alone."""
    cohort, partition = site_cohort(settings), site_partition(settings, job.config.seed)
    return {
        "status": "completed",
        "heartfed": fl.__version__,
        "engine": "deployment",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()},
        "seconds": {},
        "failures": [],
        "command": [],
        "run": job.run,
        "audit": head_facts(Path(settings.folder), settings.site),
        # The recordings are where this hospital has them, whatever the coordinator's folders are.
        "config": job.config.model_dump()
        | {"data": "real", "data_dir": settings.data_dir, "sources": settings.sources}
        | {"ignore_checksums": settings.ignore_checksums},
        "seed": job.config.seed,
        "synthetic": [],
        "data": [shard_facts(shard, {}) for shard in cohort.shards],
        "sites": site_rows(cohort, partition),
        "privacy": _privacy(job, settings),
    }


def _privacy(job: Job, settings: SiteSettings) -> dict[str, Any] | None:
    """What the run promised the site's patients, and what all runs together have spent of them."""
    promised = guarantee_of(job.config)
    if promised is None:
        return None
    folder = Path(settings.folder)
    epsilon, delta = spent_budget(folder)
    policy = policy_of(folder)
    return promised.to_json() | {
        "spent_epsilon": epsilon,
        "spent_delta": delta,
        "epsilon_budget": policy.epsilon_budget,
        "delta_budget": policy.delta_budget,
    }


def _write_pages(folder: Path) -> None:
    """Write the site's pages; a request does not fail because they cannot be written.

    The picture of how the model arranges the site's test examples is drawn where there are enough.
    """
    # Imported here: no other request needs them.
    from fl.explain.embedding import SEED
    from fl.reports.arrangement import arrange_run
    from fl.reports.build import write_report

    log = logging.getLogger("heartfed")
    try:
        arrange_run(folder, ARRANGED, None, SEED)
    except (ConfigError, DataError) as reason:
        log.info("the test examples are not arranged: %s", reason)
    except Exception as error:
        log.error("the test examples could not be arranged", exc_info=error)
    try:
        write_report(folder)
    except Exception as error:
        log.error("the pages could not be written", exc_info=error)
