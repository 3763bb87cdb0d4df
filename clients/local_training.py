"""What a site does when it is asked to train on its own records."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clients.client_state import ENTRIES, EXTRA, OPTIMIZER, STEPS, ClientState
from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_objectives.base import RoundStart
from clients.local_objectives.evidence import trained_entries
from clients.private_steps import train_privately, without_counts
from clients.simulated_sites import Site
from clients.training_plan import training_plan
from fl.config.run_config import LOCAL
from fl.messages.job import Job
from fl.messages.payloads import SiteInfo, TrainingReply
from fl.privacy.differential_privacy.guarantee import is_private
from fl.training.device import move_to
from fl.training.frozen import network_to_train
from fl.training.loop import FitResult, OptimizerState, fit
from fl.training.state_dict import (
    Weights,
    get_weights,
    local_entries,
    set_weights,
    unmerged_entries,
)
from partitions.splits import TEST, TRAIN, VAL

# Values of --imbalance under which an epoch's length depends on how many examples a class has.
RESAMPLED = frozenset({"thinned", "balanced", "oversampled", "undersampled", "smote"})


@lru_cache(maxsize=1)
def network_for(model: str, task: str, freeze: str = "none") -> nn.Module:
    """One network per process; every request loads its own weights into it."""
    return network_to_train(model, task, freeze)


def site_info(site: Site, per_recording: int) -> SiteInfo:
    """Who the site is, how many patients each split has, and how many records an epoch takes.

    Numbers of fewer than `min_count` patients are 0, as in all that the site sends later.
    """
    found = {split: cohort.n_patients for split, cohort in site.splits.items()}
    n = {split: count if count >= site.min_count else 0 for split, count in found.items()}
    return SiteInfo(
        site=site.name,
        n_train=n[TRAIN],
        n_val=n[VAL],
        n_test=n[TEST],
        n_records=round(site.splits[TRAIN].epoch_weights(per_recording).sum()) if n[TRAIN] else 0,
    )


def train_site(
    site: Site,
    job: Job,
    weights: Weights,
    round_number: int,
    mu: float = 0.0,
    extra: Weights | None = None,
    sharing: int = 1,
    validated: bool = False,
) -> TrainingReply:
    """Train the given weights on the site's records for one round.

    `validated`: this process has just validated the weights here, so that its network has them.
    `mu` is the weight of FedProx's term; `extra` are the arrays that the strategy sends beside the
    weights, if it does (SCAFFOLD's control variate). `sharing`: how many sites bring the noise of
    differential privacy together.
    """
    config = job.config
    objective = LOCAL_OBJECTIVES[config.strategy]
    network = network_for(config.model, config.task, config.freeze)
    move_to(network, config.device)
    start = weights | site_entries_before(site, job, round_number)
    if not validated:
        set_weights(network, start)
    begin = RoundStart(
        network=network,
        weights=start,
        mu=mu,
        proximal=config.proximal,
        sent=extra or {},
        kept=site_state(site, job, EXTRA).before(round_number) if extra else {},
        trained=trained_entries(config, site.splits[TRAIN], start),
        device=config.device,
    )
    if is_private(config):
        pull = objective.pull(begin)
        fitted = train_privately(network, site, job, round_number, pull, sharing)
    else:
        fitted = _train(network, site, job, round_number, begin)
    end = get_weights(network)
    update = objective.extra(begin, end, fitted.lr_sum)
    shared, own = _shared_and_own(job, end)
    _keep_optimizer(site, job, round_number, fitted.state)
    if own:
        site_state(site, job, ENTRIES).put(round_number, own)
    if job.strategy == LOCAL:
        _count_steps(site, job, round_number, fitted.steps)
    if update.kept:
        site_state(site, job, EXTRA).put(round_number, update.kept)
    reply = _training_reply(site, job, shared, update.sent, fitted)
    return without_counts(reply) if is_private(config) else reply


def _train(
    network: nn.Module, site: Site, job: Job, round_number: int, begin: RoundStart
) -> FitResult:
    """One round of plain training, as the strategy wants it."""
    objective = LOCAL_OBJECTIVES[job.config.strategy]
    plan = training_plan(job.config, site.name, round_number)
    return fit(
        network,
        site.splits[TRAIN],
        replace(plan, withheld=_withheld_classes(site)) if site.min_count else plan,
        state=_optimizer_before(site, job, round_number),
        penalty=objective.penalty(begin),
        pull=objective.pull(begin),
    )


def site_state(site: Site, job: Job, kind: str) -> ClientState:
    """What stays at the site of one kind: see `clients/client_state.py`.

    The site's own entries of the model are kept of every round: the best round may be any.
    """
    folder = site.folder / job.strategy / kind
    return ClientState(folder, prune=kind != ENTRIES, synced=site.synced)


def site_entries_before(site: Site, job: Job, round_number: int) -> Weights:
    """The entries of the model that are the site's own, as they were before a round."""
    config = job.config
    if not local_entries(config.strategy, config.model, config.task, config.freeze):
        return {}
    return site_state(site, job, ENTRIES).before(round_number)


def _count_steps(site: Site, job: Job, round_number: int, steps: int) -> None:
    """Keep how many steps a site that trains alone has taken up to this round."""
    state = site_state(site, job, STEPS)
    before = state.before(round_number).get("steps", np.zeros(1, dtype=np.int64))
    state.put(round_number, {"steps": before + steps})


def _optimizer_before(site: Site, job: Job, round_number: int) -> OptimizerState:
    if job.config.optimizer_state != "kept":
        return {}
    kept = site_state(site, job, OPTIMIZER).before(round_number)
    return {name: torch.from_numpy(value) for name, value in kept.items()}


def _keep_optimizer(site: Site, job: Job, round_number: int, state: OptimizerState) -> None:
    # After the last round no other comes that would read it.
    if job.config.optimizer_state == "kept" and round_number < job.config.rounds:
        arrays = {name: value.numpy() for name, value in state.items()}
        site_state(site, job, OPTIMIZER).put(round_number, arrays)


def _shared_and_own(job: Job, weights: Weights) -> tuple[Weights, Weights]:
    """Entries that are sent, and those that are the site's own; frozen ones are neither."""
    config = job.config
    local = local_entries(config.strategy, config.model, config.task, config.freeze)
    unmerged = unmerged_entries(config)
    shared = {name: value for name, value in weights.items() if name not in unmerged}
    return shared, {name: weights[name] for name in sorted(local)}


def _training_reply(
    site: Site, job: Job, weights: Weights, extra: Weights, fitted: FitResult
) -> TrainingReply:
    cohort = site.splits[TRAIN]
    weight = cohort.epoch_weights(job.config.per_recording)
    by_patient = job.config.weighting == "patients"
    counted = cohort.patient_weights(job.config.per_recording) if by_patient else weight
    n_patients = cohort.n_patients
    n_records = round(weight.sum())
    loss_sum, n_seen, steps = fitted.loss_sum, fitted.n_seen, fitted.steps
    if site.min_count and job.config.imbalance in RESAMPLED:
        # How many examples such an epoch takes tells how many there are of each class.
        n_seen = max(n_records, 1) * job.config.local_epochs
        steps = math.ceil(n_seen / job.config.batch_size)
        loss_sum = fitted.loss_sum / fitted.n_seen * n_seen
    return TrainingReply(
        site=site.name,
        weights=weights,
        extra=extra,
        n_records=n_records,
        annotated=_permitted_counts(site, counted, cohort.labels >= 0),
        recorded=_permitted_counts(site, counted, cohort.lead_mask),
        loss_sum=loss_sum,
        n_seen=n_seen,
        steps=steps,
        n_patients=n_patients if n_patients >= site.min_count else 0,
    )


def _withheld_classes(site: Site) -> tuple[int, ...]:
    """The classes of which so few training patients show or lack it that no figure may tell."""
    return site.splits[TRAIN].without_rare(site.min_count).masked_classes


def _permitted_counts(
    site: Site, weight: NDArray[np.float64], of: NDArray[np.bool_]
) -> tuple[int, ...]:
    """Training records that are marked in each column of `of`; 0 where too few patients have one.

    `weight` (example,) is the probability that an epoch takes the example, or the example's
    share of its patient.
    """
    patients = site.splits[TRAIN].count_patients(of)
    return withhold_small_counts(site.min_count, weight @ of, patients)


def withhold_small_counts(
    min_count: int, counts: NDArray[np.float64], patients: NDArray[np.int64]
) -> tuple[int, ...]:
    """Counts of records or patients, each 0 where fewer than `min_count` patients are behind it."""
    return tuple(np.where(patients < min_count, 0, np.rint(counts).astype(int)).tolist())
