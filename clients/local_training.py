"""What a site does when it is visited: train on its own records, or be measured on them."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clients.client_state import ClientState
from clients.local_objectives import next_control, objective_penalty
from clients.personalization import finetune
from clients.simulated_sites import Site
from clients.training_plan import training_plan
from fl.ecg.tasks import TASKS
from fl.evaluation.group_evaluation import evaluate_group
from fl.evaluation.predictions import Predictions, write_predictions
from fl.evaluation.score_histograms import count_scores, empty_histograms
from fl.evaluation.thresholds import Thresholds
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply, SiteInfo, TrainingReply
from fl.models import build_network
from fl.training.loop import fit, predict
from fl.training.losses import mean_loss
from fl.training.state_dict import Weights, get_weights, local_entries, set_weights
from partitions.splits import TEST, TRAIN, VAL


@lru_cache(maxsize=1)
def network_for(model: str, task: str) -> nn.Module:
    """One network per process; every visit loads its own weights into it."""
    return build_network(model, TASKS[task])


def site_info(site: Site) -> SiteInfo:
    """Who the site is and how many records it holds."""
    n = {split: len(cohort) for split, cohort in site.splits.items()}
    return SiteInfo(site=site.name, n_train=n[TRAIN], n_val=n[VAL], n_test=n[TEST])


def train_site(
    site: Site, job: Job, weights: Weights, round_number: int, mu: float, control: Weights
) -> TrainingReply:
    """Train the given weights on the site's records for one round.

    `control` is SCAFFOLD's control variate, empty for every other strategy.
    """
    config, cohort = job.config, site.splits[TRAIN]
    network = network_for(config.model, config.task)
    start = weights | site_entries_before(site, job, round_number)
    set_weights(network, start)
    optimizer = ClientState(site.folder / job.strategy / "optimizer")
    controls = ClientState(site.folder / job.strategy / "control")
    own = controls.before(round_number) or {k: np.zeros_like(v) for k, v in control.items()}
    keeps = config.optimizer_state == "kept"
    kept = optimizer.before(round_number) if keeps else {}
    state = {k: torch.from_numpy(v) for k, v in kept.items()}
    fitted = fit(
        network,
        cohort,
        training_plan(config, site.name, round_number),
        state=state,
        penalty=objective_penalty(network, mu, control, own, config.device),
    )
    if keeps and round_number < config.rounds:  # there is no visit after the last
        optimizer.put(round_number, {k: v.numpy() for k, v in fitted.state.items()})
    found = get_weights(network)
    local = local_entries(config.strategy, config.model, config.task)
    if local:
        site_entry_state(site, job).put(round_number, {k: found[k] for k in sorted(local)})
    changed: Weights = {}
    if control:
        new = next_control(own, control, start, found, fitted.lr_sum)
        controls.put(round_number, new)
        changed = {k: control[k] + new[k] - own[k] for k in control}
    weight = cohort.epoch_weights(config.per_recording)
    return TrainingReply(
        site=site.name,
        weights={k: v for k, v in found.items() if k not in local},
        control=changed,
        n_records=round(weight.sum()),
        annotated=withhold_small_counts(site.min_count, weight @ (cohort.labels >= 0)),
        recorded=withhold_small_counts(site.min_count, weight @ cohort.lead_mask),
        loss_sum=fitted.loss_sum,
        n_seen=fitted.n_seen,
        steps=fitted.steps,
    )


def withhold_small_counts(min_count: int, counts: NDArray[np.float64]) -> tuple[int, ...]:
    """Counts of records, each 0 where it is too small to be told."""
    whole = np.rint(counts).astype(int)
    return tuple(np.where(whole < min_count, 0, whole).tolist())


def site_entry_state(site: Site, job: Job) -> ClientState:
    """FedBN's normalisation layers, of every round: the best round may be any."""
    return ClientState(site.folder / job.strategy / "own", prune=False)


def site_entries_before(site: Site, job: Job, round_number: int) -> Weights:
    """The site's own entries as they were before a round."""
    return site_entry_state(site, job).before(round_number)


def evaluate_site(
    site: Site,
    job: Job,
    weights: Weights,
    split: str,
    thresholds: dict[str, Thresholds] | None,
    round_number: int,
) -> EvaluationReply:
    """Measure the weights of a round on one split of the site's records.

    On test the site also writes its predictions, in its own folder, and reports its measures.
    Classes too rare at the site, and all of a split that is too small, are not told of.
    """
    config, cohort = job.config, site.splits[split]
    task = TASKS[config.task]
    network = network_for(config.model, config.task)
    set_weights(network, weights | site_entries_before(site, job, round_number + 1))
    steps = 0
    if split == TEST and config.strategy == "finetune":
        steps = finetune(network, site, config)
    p = predict(network, cohort, device=config.device)
    told = cohort.without_rare(site.min_count)
    report = None
    if split == TEST and len(cohort):
        report = evaluate_group(told, p, thresholds, config.seed)
        predictions = Predictions.of_cohort(
            cohort, p, strategy=job.strategy, site=site.name, split=split
        )
        write_predictions(site.folder / f"predictions-{job.strategy}.csv", predictions)
    source = "+".join(sorted(set(site.splits[TRAIN].sources.tolist())))
    if len(cohort) < site.min_count:
        return empty_evaluation(site.name, source, len(task.classes))
    loss = mean_loss(task, cohort.labels, p) * len(cohort) if len(cohort) else 0.0
    return EvaluationReply(
        site=site.name,
        source=source,
        n_records=len(cohort),
        n_patients=len(set(cohort.patients.tolist())),
        loss_sum=loss,
        tally=count_scores(told.labels, p),
        report=report,
        steps=steps,
    )


def empty_evaluation(site: str, source: str, classes: int) -> EvaluationReply:
    """What a site says of a split with too few records to say anything of."""
    return EvaluationReply(
        site=site,
        source=source,
        n_records=0,
        n_patients=0,
        loss_sum=0.0,
        tally=empty_histograms(classes),
        report=None,
    )
