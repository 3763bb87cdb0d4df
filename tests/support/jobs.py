"""Jobs for tests that make their own."""

from pathlib import Path
from typing import Any

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.messages.job import Job
from partitions.dealing import deal
from partitions.partition import write_partition


def job_over(cohort: Cohort, folder: Path, sites: int, **settings: Any) -> Job:
    """A job over a cohort of one source, in a folder of its own."""
    given = {"rounds": 2, "batch_size": 4, "model": "resnet1d", "engine": "local"} | settings
    config = RunConfig(clients=sites, **given)
    folder.mkdir(exist_ok=True)
    source = str(cohort.sources[0])
    partition = deal(cohort, {source: sites}, "patients", config.alpha, config.seed)
    write_partition(folder / "partition.csv", cohort, partition)
    return Job(
        config=config,
        strategy=config.strategy,
        workspace=str(folder),
        shards=tuple(str(shard.path) for shard in cohort.shards),
    )
