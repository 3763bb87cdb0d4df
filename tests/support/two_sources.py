"""One site that holds records of two sources."""

from dataclasses import replace

import numpy as np

from clients.simulated_sites import open_site
from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.ecg.tasks import RHYTHM
from fl.messages.job import Job
from partitions.dealing import deal
from partitions.partition import CENTRAL, Partition, write_partition
from partitions.splits import TRAIN, VAL


def two_source_job(shards, folder, **settings):
    """A job over both synthetic sources, all of whose records are at `site-1`.

    Every second training patient is for validation instead, so that classes are not too rare
    there to have thresholds of their own.
    """
    given = {"rounds": 2, "local_epochs": 1, "model": "resnet1d", "engine": "local"} | settings
    config = RunConfig(clients=1, **given)
    cohort = Cohort.open(RHYTHM, list(shards))
    sources = dict.fromkeys(sorted(set(cohort.sources.tolist())), 1)
    dealt = deal(cohort, sources, "patients", config.alpha, config.seed)
    site = np.where(dealt.site == CENTRAL, CENTRAL, "site-1").astype("U64")
    _, person = np.unique(cohort.patients, return_inverse=True)
    moved = (dealt.split == TRAIN) & (person % 2 == 1)
    partition = Partition(site, np.where(moved, VAL, dealt.split))
    folder.mkdir(exist_ok=True)
    write_partition(folder / "partition.csv", cohort, partition)
    return Job(
        config=config,
        strategy=config.strategy,
        workspace=str(folder),
        shards=tuple(str(shard.path) for shard in cohort.shards),
        n_sites=1,
    )


def two_source_site(shards, folder, min_count=0):
    """The job, and its one site; counts below `min_count` do not leave it."""
    job = two_source_job(shards, folder)
    return job, replace(open_site(job, 0), min_count=min_count)
