"""What a site does when it is visited: train on its own records, or be measured on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from fl.cache import write_whole
from fl.cohort import Cohort
from fl.config import RunConfig
from fl.evaluation import evaluate_group, predictions_text, write_predictions
from fl.metrics import Thresholds, tally
from fl.models import build_network
from fl.tasks import TASKS
from fl.training import OptimizerState, Penalty, Plan, fit, mean_loss, predict
from fl.weights import Weights, get_weights, set_weights
from fl.wire import Evaluated, Hello, Job, Trained
from partitions.deal import open_partition
from partitions.splits import TEST, TRAIN, VAL

KEPT_STATES = 2  # the last two rounds': a resumed run goes back one at most


@dataclass(frozen=True, kw_only=True)
class Site:
    """One hospital: its records by split, and the folder for what stays there."""

    name: str
    splits: dict[str, Cohort]
    folder: Path


@lru_cache(maxsize=4)
def open_sites(workspace: str, shards: tuple[str, ...], task: str) -> dict[str, Site]:
    """Every site of a simulated run, by name. Signals stay in the shared memory maps."""
    cohort, partition = open_partition(Path(workspace) / "partition.csv", TASKS[task], shards)
    return {
        name: Site(
            name=name,
            splits={s: cohort.take(partition.rows(name, s)) for s in (TRAIN, VAL, TEST)},
            folder=Path(workspace) / "checkpoint" / "sites" / name,
        )
        for name in partition.sites
    }


def open_site(job: Job, number: int) -> Site:
    """The site that simulated node `number` acts for."""
    sites = open_sites(job.workspace, job.shards, job.config.task)
    return sites[sorted(sites)[number]]


@lru_cache(maxsize=1)
def network_for(model: str, task: str) -> nn.Module:
    """One network per process; every visit loads its own weights into it."""
    return build_network(model, TASKS[task])


def hello(site: Site) -> Hello:
    """Who the site is and how many records it holds."""
    n = {split: len(cohort) for split, cohort in site.splits.items()}
    return Hello(site=site.name, n_train=n[TRAIN], n_val=n[VAL], n_test=n[TEST])


def proximal_penalty(local: Sequence[Tensor], anchor: Sequence[Tensor], mu: float) -> Tensor:
    """FedProx's term mu/2 * sum ||w - w_global||^2, squared as in the paper.

    Source: Li et al. 2020, arXiv:1812.06127. Both are sequences, not generators: the term is
    needed again for every batch.
    """
    distance = torch.stack([(w - g).pow(2).sum() for w, g in zip(local, anchor, strict=True)])
    return mu / 2 * distance.sum()


def train_visit(site: Site, job: Job, weights: Weights, round_number: int, mu: float) -> Trained:
    """Train the given weights on the site's records for one round."""
    config, cohort = job.config, site.splits[TRAIN]
    network = network_for(config.model, config.task)
    set_weights(network, weights)
    state_folder = site.folder / job.strategy
    fitted = fit(
        network,
        cohort,
        _plan(config, site.name, round_number),
        state=_last_state(state_folder, round_number),
        penalty=_penalty(network, mu, config.device),
    )
    _keep_state(state_folder, round_number, fitted.state)
    weight = cohort.epoch_weights(config.per_recording)
    return Trained(
        site=site.name,
        weights=get_weights(network),
        n_records=round(weight.sum()),
        annotated=tuple(np.rint(weight @ (cohort.labels >= 0)).astype(int).tolist()),
        recorded=tuple(np.rint(weight @ cohort.lead_mask).astype(int).tolist()),
        loss_sum=fitted.loss_sum,
        n_seen=fitted.n_seen,
        steps=fitted.steps,
    )


def evaluate_visit(
    site: Site,
    job: Job,
    weights: Weights,
    split: str,
    thresholds: dict[str, Thresholds] | None,
) -> Evaluated:
    """Measure the given weights on one split of the site's records.

    On test the site also writes its predictions, in its own folder, and reports its measures.
    """
    config, cohort = job.config, site.splits[split]
    task = TASKS[config.task]
    network = network_for(config.model, config.task)
    set_weights(network, weights)
    p = predict(network, cohort, device=config.device)
    report = {}
    if split == TEST and len(cohort):
        report = evaluate_group(cohort, p, thresholds, config.seed)
        text = predictions_text(cohort, p, job.strategy, site.name, split)
        write_predictions(site.folder / f"predictions-{job.strategy}.csv", text)
    loss = mean_loss(task, cohort.labels, p) * len(cohort) if len(cohort) else 0.0
    return Evaluated(
        site=site.name,
        source="+".join(sorted(set(site.splits[TRAIN].sources.tolist()))),
        n_records=len(cohort),
        n_patients=len(set(cohort.patients.tolist())),
        loss_sum=loss,
        tally=tally(cohort.labels, p),
        report=report,
    )


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
        device=config.device,
    )


def _penalty(network: nn.Module, mu: float, device: str) -> Penalty | None:
    if mu == 0:
        return None
    network.to(device)
    anchor = [w.detach().clone() for w in network.parameters()]
    return lambda net: proximal_penalty(list(net.parameters()), anchor, mu)


def _last_state(folder: Path, round_number: int) -> OptimizerState | None:
    """The optimizer's state after the site's last visit before this round."""
    before = [
        path for path in sorted(folder.glob("*.safetensors")) if int(path.stem) < round_number
    ]
    return load(before[-1].read_bytes()) if before else None


def _keep_state(folder: Path, round_number: int, state: OptimizerState) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{round_number:06d}.safetensors", save(state))
    for old in sorted(folder.glob("*.safetensors"))[:-KEPT_STATES]:
        old.unlink()
