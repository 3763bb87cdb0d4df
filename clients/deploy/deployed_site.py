"""A deployed site: its own records, split by itself, and its own report.

What it is told by the coordinator are the run's settings; folders, the smallest count that may
leave and the device are the hospital's own and come from its SuperNode's configuration.
"""

import json
import logging
import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import fl
from clients.deploy.site_settings import SiteSettings
from clients.simulated_sites import Site
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare_all
from fl.datasets.source_selection import select_sources
from fl.ecg.tasks import TASKS
from fl.evaluation.group_evaluation import GroupMeasures, evaluate_group
from fl.evaluation.predictions import read_predictions, write_predictions
from fl.evaluation.thresholds import Thresholds
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply
from fl.privacy.egress_policy import NAME, SITE, VersionMismatch, permitted_report
from fl.runs.history_tables import write_history_tables
from fl.runs.results import RunSummary, TrainingSummary, write_summary
from fl.runs.run_record import shard_facts
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, DataError
from fl.util.random_streams import stream
from partitions.partition import Partition, write_partition
from partitions.splits import TEST, TRAIN, VAL, split_site
from partitions.summary import site_rows


def open_site(job: Job, hospital: SiteSettings) -> Site:
    """The site as this run sees it; `ConfigError` or `DataError` if it takes no part."""
    if job.version != fl.__version__:
        raise VersionMismatch(f"the coordinator has {job.version!r}, this site {fl.__version__!r}")
    if job.config.task != hospital.task:
        raise ConfigError(f"the run's task is {job.config.task!r}, this site's {hospital.task!r}")
    if not SITE.fullmatch(job.run):
        raise ConfigError(f"the run calls itself {job.run!r}")
    folder = Path(hospital.folder) / "runs" / job.run
    splits = _splits(hospital, job.config.seed)
    if not (folder / "partition.csv").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_site_partition(folder / "partition.csv", hospital, job.config.seed)
    return Site(
        name=hospital.site,
        splits=splits,
        folder=folder / "checkpoint" / "sites" / hospital.site,
        min_count=hospital.min_count,
    )


def with_site_device(job: Job, hospital: SiteSettings) -> Job:
    """The run's settings with the device that this hospital has."""
    config = job.config.model_copy(update={"device": hospital.device})
    return job.model_copy(update={"config": config})


@lru_cache(maxsize=2)
def site_cohort(hospital: SiteSettings, workers: int = 1) -> Cohort:
    """All usable examples of the hospital, preprocessed when they are first asked for."""
    choice = select_sources(hospital.run_config())
    for source in choice.sources.values():
        if not NAME.fullmatch(source.card.name):
            raise ConfigError(f"--sources names {source.card.name!r}: no name for a source.")
    cache = Path(hospital.cache_dir) if hospital.cache_dir else default_cache_dir()
    task = TASKS[hospital.task]
    shards = prepare_all(choice.sources, Path(hospital.data_dir), task, cache, workers)
    cohort, _ = Cohort.open(task, list(shards.values())).without_duplicates()
    return cohort


@lru_cache(maxsize=2)
def site_partition(hospital: SiteSettings, seed: int) -> Partition:
    """The hospital's patients to training, validation and test.

    Drawn from the stream that the simulation names by the site: a hospital that holds the
    patients a simulated site was dealt gets that site's split.
    """
    cohort = site_cohort(hospital)
    _, person = np.unique(cohort.patients, return_inverse=True)
    positive = np.zeros((person.max() + 1, len(cohort.task.classes)), dtype=np.int64)
    np.add.at(positive, person, cohort.labels == 1)
    split = split_site(positive > 0, stream(seed, "split", hospital.site))[person]
    if (split == TRAIN).sum() < max(hospital.min_count, 1):
        raise DataError(
            f"{hospital.data_dir}: {(split == TRAIN).sum()} training records are left, fewer than "
            f"--min-count {hospital.min_count}. Add recordings."
        )
    return Partition(np.full(len(cohort), hospital.site, dtype="U64"), split)


@lru_cache(maxsize=2)
def _splits(hospital: SiteSettings, seed: int) -> dict[str, Cohort]:
    cohort, partition = site_cohort(hospital), site_partition(hospital, seed)
    return {s: cohort.take(partition.rows(hospital.site, s)) for s in (TRAIN, VAL, TEST)}


def write_site_partition(path: Path, hospital: SiteSettings, seed: int) -> None:
    """partition.csv of this site alone; it stays here."""
    write_partition(path, site_cohort(hospital), site_partition(hospital, seed))


def permitted_evaluation(evaluated: EvaluationReply) -> EvaluationReply:
    """A site's measures without what may not leave."""
    if evaluated.report is None:
        return evaluated
    permitted = permitted_report(evaluated.report.to_json())
    return replace(evaluated, report=GroupMeasures.from_json(permitted, "the site's measures"))


def write_site_report(
    site: Site,
    hospital: SiteSettings,
    job: Job,
    thresholds: Mapping[str, Thresholds] | None,
    number: int,
) -> None:
    """The site's own results, all classes, as a run directory that never leaves it."""
    cohort, task = site.splits[TEST], TASKS[job.config.task]
    folder = site.folder.parents[2]
    predictions = read_predictions(site.folder / f"predictions-{job.strategy}.csv", task.classes)
    write_predictions(folder / "predictions.csv", predictions)
    measures = evaluate_group(cohort, predictions.probabilities, thresholds, job.config.seed)
    result = TrainingSummary(
        central=None,
        unseen=None,
        sites={site.name: measures},
        thresholds=None if thresholds is None else dict(thresholds),
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
    write_atomically(folder / "run.json", json.dumps(_facts(job, hospital), indent=1).encode())
    write_summary(folder, summary)
    write_history_tables(folder, (), ())  # the coordinator has the history
    _write_pages(folder)


def _facts(job: Job, hospital: SiteSettings) -> dict[str, Any]:
    """run.json of this site alone."""
    cohort, partition = site_cohort(hospital), site_partition(hospital, job.config.seed)
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
        "config": job.config.model_dump(),
        "seed": job.config.seed,
        "synthetic": [],
        "data": [shard_facts(shard, {}) for shard in cohort.shards],
        "sites": site_rows(cohort, partition),
    }


def _write_pages(folder: Path) -> None:
    """The site's pages; a visit does not fail for them."""
    from fl.reports.build import write_report  # here: it loads what a visit has no use for

    try:
        write_report(folder)
    except Exception as error:
        logging.getLogger("heartfed").error("the pages could not be written", exc_info=error)
