"""Recordings, their partition and the table of sites, made in one pass from a run's settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare_all
from fl.datasets.source_selection import SourceSelection
from fl.ecg.tasks import TASKS
from fl.messages.job import Job
from fl.privacy.differential_privacy.guarantee import with_noise
from fl.runs.run_record import RunRecord, shard_facts
from fl.util.cores import available_cores
from fl.util.errors import DataError
from partitions.build import make_partition
from partitions.device_skew import Faults, recorder_facts
from partitions.partition import Partition, read_partition, write_partition
from partitions.summary import non_iid, site_rows, unmeasurable

PARTITION = "partition.csv"
Progress = Callable[[str, int, int], None]  # source, records done, records in all


@dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """What a run trains on: the recordings of its sources and who holds them."""

    selection: SourceSelection
    shards: tuple[Path, ...]  # cache folder of each source
    data: list[dict[str, Any]]  # of each source, for run.json: content, counts, records left out
    cohort: Cohort
    partition: Partition
    sites: list[dict[str, object]]  # rows of `partitions.summary.site_rows`
    not_measurable: Sequence[str]  # classes that no central test record shows
    non_iid: float | None  # how far the sites' label mixes are apart
    devices: dict[str, Faults]  # of each site whose recorder has faults

    def job(self, config: RunConfig, folder: Path) -> Job:
        """The run as its workers know it; `folder` is the run directory."""
        return Job(
            config=with_noise(config),
            strategy=config.strategy,
            workspace=str(folder.resolve()),
            shards=tuple(str(path) for path in self.shards),
            n_sites=len(self.partition.sites),
        )

    def write_partition(self, folder: Path) -> None:
        """partition.csv in the run directory, where the workers read it."""
        write_partition(folder / PARTITION, self.cohort, self.partition)


def prepare(
    config: RunConfig,
    selection: SourceSelection,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    record: RunRecord | None = None,
) -> PreparedRun:
    """Preprocess the recordings, unless the cache has them, and deal them to sites.

    `record` is of the run directory: a run that is resumed there must find the recordings it
    began with, and keeps its partition.
    """
    task = TASKS[config.task]
    cache = cache_dir or default_cache_dir()
    workers = config.workers or available_cores()
    found = prepare_all(selection.sources, Path(config.data_dir), task, cache, workers, progress)
    shards = tuple(found.values())
    cohort, copies = Cohort.open(task, list(shards)).without_duplicates()
    data = [shard_facts(shard, copies) for shard in cohort.shards]
    _require_own_recordings(data)
    if record is not None:
        record.require_same_data(data)
    if record is not None and (saved := record.folder / PARTITION).exists():
        partition = read_partition(saved, cohort)
    else:
        partition = make_partition(config, selection, cohort)
    return PreparedRun(
        selection=selection,
        shards=shards,
        data=data,
        cohort=cohort,
        partition=partition,
        sites=site_rows(cohort, partition),
        not_measurable=unmeasurable(cohort, partition),
        non_iid=non_iid(cohort, partition),
        devices=recorder_facts(config.skews, task, config.seed, partition.sites),
    )


def _require_own_recordings(data: Sequence[Mapping[str, Any]]) -> None:
    """`DataError` for a source of which every recording is in an earlier source too."""
    for number, source in enumerate(data):
        if not source["recordings"]:
            name, earlier = source["source"], ", ".join(d["source"] for d in data[:number])
            raise DataError(
                f"{name}: each of its recordings that could be used has the signal of one in "
                f"{earlier}, and a recording is used once. Leave {name} out of --sources and "
                "--holdout, or leave out the other."
            )
