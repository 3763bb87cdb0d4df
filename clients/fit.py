"""What a site does when it is visited: train on its own records, or be measured on them."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clients.keep import Keep
from clients.rules import next_control, penalty_of
from fl.cohort import Cohort
from fl.config import POOLED, RunConfig
from fl.evaluation import evaluate_group, predictions_text, write_predictions
from fl.metrics import Thresholds, empty_tally, tally
from fl.models import build_network
from fl.tasks import TASKS
from fl.training import Plan, fit, mean_loss, predict
from fl.weights import Weights, get_weights, local_names, set_weights
from fl.wire import Evaluated, Hello, Job, Trained
from partitions.deal import open_partition
from partitions.skew import device_of
from partitions.splits import TEST, TRAIN, VAL


@dataclass(frozen=True, kw_only=True)
class Site:
    """One hospital: its records by split, and the folder for what stays there."""

    name: str
    splits: dict[str, Cohort]
    folder: Path
    fewest: int = 0  # counts below this do not leave the site


@lru_cache(maxsize=4)
def open_sites(
    workspace: str,
    shards: tuple[str, ...],
    task: str,
    skews: tuple[str, ...] = (),
    seed: int = 0,
) -> dict[str, Site]:
    """Every site of a simulated run, by name. Signals stay in the shared memory maps.

    With skew every site sees its records through a device of its own, drawn by `seed`.
    """
    cohort, partition = open_partition(Path(workspace) / "partition.csv", TASKS[task], shards)
    devices = {name: device_of(skews, TASKS[task], seed, name) for name in partition.sites}
    return {
        name: Site(
            name=name,
            splits={
                s: cohort.take(partition.rows(name, s)).through(devices[name])
                for s in (TRAIN, VAL, TEST)
            },
            folder=Path(workspace) / "checkpoint" / "sites" / name,
        )
        for name in partition.sites
    }


def sites_of(job: Job) -> dict[str, Site]:
    """Every site of a simulated run, by name."""
    config = job.config
    return open_sites(job.workspace, job.shards, config.task, config.skews, config.seed)


def open_site(job: Job, number: int) -> Site:
    """The site that simulated node `number` acts for."""
    sites = sites_of(job)
    return sites[sorted(sites)[number]]


def open_trainee(job: Job, number: int) -> Site:
    """Who trains when node `number` is asked to: its site, or under `pooled` all sites as one."""
    if job.strategy != POOLED:
        return open_site(job, number)
    everyone = sites_of(job)
    return Site(
        name=POOLED,
        splits={TRAIN: Cohort.joined([everyone[name].splits[TRAIN] for name in sorted(everyone)])},
        folder=Path(job.workspace) / "checkpoint" / "sites" / POOLED,
    )


@lru_cache(maxsize=1)
def network_for(model: str, task: str) -> nn.Module:
    """One network per process; every visit loads its own weights into it."""
    return build_network(model, TASKS[task])


def hello(site: Site) -> Hello:
    """Who the site is and how many records it holds."""
    n = {split: len(cohort) for split, cohort in site.splits.items()}
    return Hello(site=site.name, n_train=n[TRAIN], n_val=n[VAL], n_test=n[TEST])


def train_visit(
    site: Site, job: Job, weights: Weights, round_number: int, mu: float, control: Weights
) -> Trained:
    """Train the given weights on the site's records for one round.

    `control` is SCAFFOLD's control variate, empty for every other strategy.
    """
    config, cohort = job.config, site.splits[TRAIN]
    network = network_for(config.model, config.task)
    start = weights | own_entries(site, job, round_number)
    set_weights(network, start)
    optimizer = Keep(site.folder / job.strategy / "optimizer")
    controls = Keep(site.folder / job.strategy / "control")
    own = controls.before(round_number) or {k: np.zeros_like(v) for k, v in control.items()}
    keeps = config.optimizer_state == "kept"
    kept = optimizer.before(round_number) if keeps else {}
    state = {k: torch.from_numpy(v) for k, v in kept.items()}
    fitted = fit(
        network,
        cohort,
        _plan(config, site.name, round_number),
        state=state,
        penalty=penalty_of(network, mu, control, own, config.device),
    )
    if keeps and round_number < config.rounds:  # there is no visit after the last
        optimizer.put(round_number, {k: v.numpy() for k, v in fitted.state.items()})
    found = get_weights(network)
    local = local_names(config.strategy, config.model, config.task)
    if local:
        entries(site, job).put(round_number, {k: found[k] for k in sorted(local)})
    changed: Weights = {}
    if control:
        new = next_control(own, control, start, found, fitted.lr_sum)
        controls.put(round_number, new)
        changed = {k: control[k] + new[k] - own[k] for k in control}
    weight = cohort.epoch_weights(config.per_recording)
    return Trained(
        site=site.name,
        weights={k: v for k, v in found.items() if k not in local},
        control=changed,
        n_records=round(weight.sum()),
        annotated=at_least(site.fewest, weight @ (cohort.labels >= 0)),
        recorded=at_least(site.fewest, weight @ cohort.lead_mask),
        loss_sum=fitted.loss_sum,
        n_seen=fitted.n_seen,
        steps=fitted.steps,
    )


def at_least(fewest: int, counts: NDArray[np.float64]) -> tuple[int, ...]:
    """Counts of records, each 0 where it is too small to be told."""
    whole = np.rint(counts).astype(int)
    return tuple(np.where(whole < fewest, 0, whole).tolist())


def entries(site: Site, job: Job) -> Keep:
    """FedBN's normalisation layers, of every round: the best round may be any."""
    return Keep(site.folder / job.strategy / "own", prune=False)


def own_entries(site: Site, job: Job, round_number: int) -> Weights:
    """The site's own entries as they were before a round."""
    return entries(site, job).before(round_number)


def evaluate_visit(
    site: Site,
    job: Job,
    weights: Weights,
    split: str,
    thresholds: dict[str, Thresholds] | None,
    round_number: int,
) -> Evaluated:
    """Measure the weights of a round on one split of the site's records.

    On test the site also writes its predictions, in its own folder, and reports its measures.
    Classes too rare at the site, and all of a split that is too small, are not told of.
    """
    config, cohort = job.config, site.splits[split]
    task = TASKS[config.task]
    network = network_for(config.model, config.task)
    set_weights(network, weights | own_entries(site, job, round_number + 1))
    steps = 0
    if split == TEST and config.strategy == "finetune":
        steps = finetune(network, site, config)
    p = predict(network, cohort, device=config.device)
    told = cohort.without_rare(site.fewest)
    report = {}
    if split == TEST and len(cohort):
        report = evaluate_group(told, p, thresholds, config.seed)
        text = predictions_text(cohort, p, job.strategy, site.name, split)
        write_predictions(site.folder / f"predictions-{job.strategy}.csv", text)
    source = "+".join(sorted(set(site.splits[TRAIN].sources.tolist())))
    if len(cohort) < site.fewest:
        return nothing_told(site.name, source, len(task.classes))
    loss = mean_loss(task, cohort.labels, p) * len(cohort) if len(cohort) else 0.0
    return Evaluated(
        site=site.name,
        source=source,
        n_records=len(cohort),
        n_patients=len(set(cohort.patients.tolist())),
        loss_sum=loss,
        tally=tally(told.labels, p),
        report=report,
        steps=steps,
    )


def nothing_told(site: str, source: str, classes: int) -> Evaluated:
    """What a site says of a split with too few records to say anything of."""
    return Evaluated(
        site=site,
        source=source,
        n_records=0,
        n_patients=0,
        loss_sum=0.0,
        tally=empty_tally(classes),
        report={},
    )


def finetune(network: nn.Module, site: Site, config: RunConfig) -> int:
    """A few more epochs on the site's own records, kept only if its validation is better.

    Returns the gradient steps taken, kept or not. A tenth of the learning rate, constant: the
    schedule of the federation has ended.
    """
    if not len(site.splits[TRAIN]):
        return 0
    before, loss = get_weights(network), _val_loss(network, site, config)
    plan = replace(
        _plan(config, site.name, config.rounds + 1),
        epochs=config.finetune_epochs,
        lr=config.lr / 10,
        constant=True,
    )
    fitted = fit(network, site.splits[TRAIN], plan)
    # Without validation records there is no telling, and the global weights stay.
    if not _val_loss(network, site, config) < loss:
        set_weights(network, before)
    return fitted.steps


def _val_loss(network: nn.Module, site: Site, config: RunConfig) -> float:
    val = site.splits[VAL]
    if not len(val):
        return float("nan")
    return mean_loss(val.task, val.labels, predict(network, val, device=config.device))


def _plan(config: RunConfig, site: str, round_number: int) -> Plan:
    return Plan(
        seed=config.seed,
        site=site,
        round=round_number,
        rounds=config.rounds,
        epochs=config.local_epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        weight_decay=config.weight_decay,
        per_recording=config.per_recording,
        augment=config.augmentations,
        imbalance=config.imbalance,
        sgd=config.optimizer == "sgd" or config.strategy == "scaffold",
        # SCAFFOLD's rule knows how far a site has gone by its learning rates alone.
        momentum=0.0 if config.strategy == "scaffold" else config.momentum,
        constant=config.schedule == "constant",
        restart=config.schedule == "round",
        device=config.device,
    )
