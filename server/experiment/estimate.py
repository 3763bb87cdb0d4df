"""How long a run will take, from the work it has to do and the speed measured on this machine."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fl.config.run_config import RunConfig
from fl.config.strategy_traits import trains_as
from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.datasets.base import Source
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.tasks import TASKS, Task
from fl.training.added_examples import with_added_examples
from fl.training.class_imbalance import epoch_order
from fl.training.frozen import network_to_train
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.errors import DataError
from fl.util.random_streams import stream
from partitions.folds import fold_shares
from partitions.splits import CENTRAL_SHARES, TRAIN, VAL
from server.engines.ray_workers import n_workers
from server.experiment.prepare import PreparedRun

MEASURED = 1.0  # seconds of training that the speed is measured over
SAMPLE = 5  # records of a source that are read to estimate all of it


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one federated round asks of each site."""

    steps: tuple[float, ...]  # (site,) training steps
    crops: tuple[float, ...]  # (site,) crops of recordings that validation applies the network to


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one core of this machine takes."""

    step: float  # seconds per training step
    crop: float  # seconds per crop in validation


@dataclass(frozen=True, kw_only=True)
class SourceSample:
    """A source as a few of its records show it."""

    records: int  # all of the source
    seconds: float  # to preprocess all of it on one core
    epoch: float  # examples that one epoch takes of all of it
    crops: float  # crops that validation would take of all of it


def workload_of(config: RunConfig, prepared: PreparedRun) -> Workload:
    """The work of a round at each site, counted from the examples that it holds."""
    cohort, partition = prepared.cohort, prepared.partition
    rng = stream(config.seed, "estimate")
    steps, crops = [], []
    for site in partition.sites:
        training = with_added_examples(
            cohort.take(partition.rows(site, TRAIN)),
            seed=config.seed,
            site=site,
            imbalance=config.imbalance,
            simulated=config.simulated_rare,
        )
        order = epoch_order(training, config.imbalance, config.per_recording, rng)
        steps.append(config.local_epochs * math.ceil(len(order) / config.batch_size))
        crops.append(len(cohort.take(partition.rows(site, VAL)).even_crops(cohort.task.crops)[0]))
    return Workload(steps=tuple(steps), crops=tuple(crops))


def expected_workload(config: RunConfig, samples: Sequence[SourceSample]) -> Workload:
    """The work of a round if the sites were alike: for records that are not preprocessed yet."""
    dealt = CENTRAL_SHARES[0] / config.clients
    train, validation, _ = fold_shares(config.site_folds)
    epoch = sum(sample.epoch for sample in samples) * dealt * train
    crops = sum(sample.crops for sample in samples) * dealt * validation
    steps = config.local_epochs * math.ceil(epoch / config.batch_size)
    return Workload(steps=(steps,) * config.clients, crops=(crops,) * config.clients)


def sample_source(config: RunConfig, source: Source) -> SourceSample:
    """Read and cut a few records, evenly spaced over the source; those unusable count as none."""
    root, task = Path(config.data_dir), TASKS[config.task]
    names = source.record_names(root)
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, SAMPLE).astype(int))]
    began, epoch, crops = time.perf_counter(), 0, 0
    for name in chosen:
        try:
            cohort = _in_memory(task, source, root, [name])
        except DataError:
            continue
        epoch += min(len(cohort), config.per_recording or len(cohort))
        crops += len(cohort.even_crops(cohort.task.crops)[0])
    scale = len(names) / len(chosen)
    return SourceSample(
        records=len(names),
        seconds=(time.perf_counter() - began) * scale,
        epoch=epoch * scale,
        crops=crops * scale,
    )


def measure_speed(config: RunConfig, plan: TrainingPlan) -> Speed:
    """Train and apply the run's network on synthetic recordings for about a second."""
    task = TASKS[config.task]
    source = replace(SYNTHETIC, seconds=(30.0, 30.0), infarction=task.infarction)
    cohort, n = _in_memory(task, source, Path(), source.record_names(Path())[:2]), 2
    while len(cohort) < 2 * config.batch_size:
        n *= 2
        cohort = _in_memory(task, source, Path(), source.record_names(Path())[:n])
    cohort = cohort.take(np.arange(2 * config.batch_size))
    network = network_to_train(config.model, config.task, config.freeze)
    plan = replace(plan, epochs=1, imbalance="none", per_recording=0)
    fit(network, cohort, plan)  # the first time, memory is still being laid out
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < MEASURED:
        steps += fit(network, cohort, plan).steps
    step = (time.perf_counter() - began) / steps
    predict(network, cohort, device=config.device)
    began = time.perf_counter()
    predict(network, cohort, device=config.device)
    crops = len(cohort.even_crops(cohort.task.crops)[0])
    return Speed(step=step, crop=(time.perf_counter() - began) / crops)


def training_seconds(config: RunConfig, work: Workload, speed: Speed) -> float:
    """Seconds for all trainings of the run, with its workers kept busy as well as can be."""
    sites = [s * speed.step + c * speed.crop for s, c in zip(work.steps, work.crops, strict=True)]
    workers = workers_of(config, len(sites))
    one_round = max(max(sites), config.fraction * sum(sites) / workers)
    # A strategy that trains as another does takes its rounds.
    seconds = len({trains_as(name) for name in config.strategies}) * one_round
    if config.compare:
        # Each site alone, and all records as one: they wait for nobody, and the pooled training
        # cannot be divided among workers.
        seconds += max(sum(sites), 2 * sum(sites) / workers)
    repetitions = max(len(config.each_seed), 1) * max(len(config.each_fold), 1)
    return seconds * config.rounds * repetitions


def workers_of(config: RunConfig, n_sites: int) -> int:
    """Processes that train at the same time."""
    return 1 if config.engine == "local" else n_workers(config, n_sites)


def _in_memory(task: Task, source: Source, root: Path, names: Sequence[str]) -> Cohort:
    records = [source.read(root, name) for name in names]
    return Cohort.of(task, [shard_in_memory(task, r, task.make_examples(r)) for r in records])
