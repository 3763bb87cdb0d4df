"""The work that every framework is given: synthetic records dealt to sites.

The records are noise with a wave for each class, made from a seed, in the form of a cache folder.
Every label and every lead is known, so that a federated average is the plain one.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.data.shards import FACTS, INDEX, SIGNALS, join_columns
from fl.ecg.tasks import TASKS, Task
from fl.messages.job import Job
from fl.util.random_streams import stream
from partitions.partition import Partition, write_partition
from partitions.splits import TRAIN, VAL

LAST = Path("weights") / "fedavg-last.safetensors"  # the weights that a framework ends with


@dataclass(frozen=True, kw_only=True)
class Workload:
    """So many sites with so many records each, and how they train."""

    sites: int
    train: int  # records of a site
    val: int
    rounds: int
    task: str = "beat"
    model: str = "beat_cnn"
    batch_size: int = 4
    lr: float = 1e-3
    seed: int = 0

    @property
    def steps(self) -> int:
        """Gradient steps of all sites in all rounds."""
        return self.sites * self.rounds * -(-self.train // self.batch_size)

    def config(self, workers: int) -> RunConfig:
        """The settings of a run; no state is kept between rounds, as no other framework does."""
        return RunConfig(
            data="synthetic",
            rhythm_features="none",
            task=self.task,
            model=self.model,
            clients=self.sites,
            rounds=self.rounds,
            local_epochs=1,
            batch_size=self.batch_size,
            lr=self.lr,
            imbalance="none",
            optimizer_state="fresh",
            workers=workers,
            seed=self.seed,
        )

    def job(self, folder: Path, workers: int) -> Job:
        """The job, with its records and partition written to `folder`."""
        config = self.config(workers)
        task = TASKS[config.task]
        shard = folder / "records"
        shard.mkdir()
        write_records(shard, task, self.sites * (self.train + self.val), self.seed)
        cohort = Cohort.open(task, [shard])
        write_partition(folder / "partition.csv", cohort, self._partition())
        return Job(
            config=config,
            strategy=config.strategy,
            workspace=str(folder),
            shards=(str(shard),),
            n_sites=self.sites,
        )

    def _partition(self) -> Partition:
        each = self.train + self.val
        names = [f"site-{number + 1}" for number in range(self.sites)]
        splits = [TRAIN] * self.train + [VAL] * self.val
        return Partition(np.repeat(names, each), np.array(splits * self.sites, dtype=np.str_))


def write_records(folder: Path, task: Task, count: int, seed: int) -> None:
    """A cache folder of `count` records of a task, each of a patient of its own."""
    rng = stream(seed, "peers", "records")
    classes, samples = len(task.classes), task.samples
    first = rng.permutation(count) % len(task.trainable)
    of_class = np.array([task.classes.index(name) for name in task.trainable])[first]
    labels = np.zeros((count, classes), dtype=np.int8)
    labels[np.arange(count), of_class] = 1
    waves = np.sin(np.arange(samples) / samples * 2 * np.pi * (1 + np.arange(classes))[:, None])
    noise = rng.standard_normal((count, task.leads, samples), dtype=np.float32)
    signals = (noise + 0.5 * waves[of_class, None, :]).astype(np.float16)
    names = np.array([f"r{number:06d}" for number in range(count)])
    empty = np.repeat("", count)
    columns: dict[str, NDArray[Any]] = {
        "names": names,
        "recordings": names,
        "patients": names,
        "groups": empty,
        "first_labels": empty,
        "sexes": empty,
        "ages": np.full(count, np.nan, dtype=np.float32),
        "labels": labels,
        "features": rng.standard_normal((count, len(task.features)), dtype=np.float32),
        "detector_features": np.zeros((count, 0), dtype=np.float32),
        "lead_mask": np.ones((count, task.leads), dtype=np.bool_),
        "lengths": np.full(count, samples, dtype=np.int64),
    }
    np.save(folder / SIGNALS, signals.ravel())
    np.savez(folder / INDEX, **join_columns([columns]))  # type: ignore[arg-type]
    facts = {"source": "synthetic", "digest": "", "excluded": {}, "prints": {}}
    (folder / FACTS).write_text(json.dumps(facts))
