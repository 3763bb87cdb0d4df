"""The sites of a simulation: each a part of one cohort, as the partition deals it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fl.config.run_config import POOLED
from fl.data.cohort import Cohort
from fl.ecg.tasks import TASKS
from fl.messages.job import FEW_SITES, Job
from partitions.device_skew import recorder_of
from partitions.partition import open_partition
from partitions.splits import TEST, TRAIN, VAL


@dataclass(frozen=True, kw_only=True)
class Site:
    """One hospital: its records by split, and the folder for what stays there."""

    name: str
    splits: dict[str, Cohort]
    folder: Path
    min_count: int = 0  # counts below this do not leave the site
    weights: Path | None = None  # folder of its own models, which stay; None: `folder`
    # What it keeps between rounds is on the disk when a visit ends; else the server waits for the
    # disk before its checkpoint.
    synced: bool = True


@lru_cache(maxsize=4)
def open_sites(
    workspace: str,
    shards: tuple[str, ...],
    task: str,
    skews: tuple[str, ...] = (),
    seed: int = 0,
) -> dict[str, Site]:
    """Every site of a simulated run, by name. Signals stay in the shared memory maps.

    With skew every site has a recorder of its own, drawn by `seed` and its name.
    """
    cohort, partition = open_partition(Path(workspace) / "partition.csv", TASKS[task], shards)
    recorders = {name: recorder_of(skews, TASKS[task], seed, name) for name in partition.sites}
    return {
        name: Site(
            name=name,
            splits={
                s: cohort.take(partition.rows(name, s)).recorded_by(recorders[name])
                for s in (TRAIN, VAL, TEST)
            },
            folder=Path(workspace) / "checkpoint" / "sites" / name,
            weights=Path(workspace) / "weights",
            synced=len(partition.sites) <= FEW_SITES,
        )
        for name in partition.sites
    }


def sites_of(job: Job) -> dict[str, Site]:
    """Every site of a simulated run, by name."""
    config = job.config
    return open_sites(job.workspace, job.shards, config.task, config.skews, config.seed)


@lru_cache(maxsize=4)
def _names_in_order(
    workspace: str, shards: tuple[str, ...], task: str, skews: tuple[str, ...], seed: int
) -> list[str]:
    """The sites' names, sorted once: a node's request comes with its number."""
    return sorted(open_sites(workspace, shards, task, skews, seed))


def open_site(job: Job, number: int) -> Site:
    """The site that simulated node `number` acts for."""
    config = job.config
    names = _names_in_order(job.workspace, job.shards, config.task, config.skews, config.seed)
    return sites_of(job)[names[number]]


def open_trainee(job: Job, number: int) -> Site:
    """Who trains when node `number` is asked to: its site, or under `pooled` all sites as one."""
    if job.strategy != POOLED:
        return open_site(job, number)
    everyone = sites_of(job)
    return Site(
        name=POOLED,
        splits={TRAIN: Cohort.joined([everyone[name].splits[TRAIN] for name in sorted(everyone)])},
        folder=Path(job.workspace) / "checkpoint" / "sites" / POOLED,
        synced=len(everyone) <= FEW_SITES,
    )
