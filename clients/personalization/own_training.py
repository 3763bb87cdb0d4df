"""A network that a site trains alone from the first weights, as `local` does in a comparison."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from clients.simulated_sites import Site
from clients.training_plan import training_plan
from clients.validation_reply import validation_reply
from fl.ecg.tasks import TASKS, Task
from fl.evaluation.decisions.decision_rule import choose_rule
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply
from fl.runs.round_selection import (
    Selection,
    confusion_of,
    is_better,
    selection_score,
    sum_sources,
)
from fl.training.frozen import frozen_entries, network_to_train
from fl.training.loop import OptimizerState, fit, predict
from fl.training.state_dict import (
    INITIAL,
    Weights,
    fresh_weights,
    get_weights,
    load_weights,
    mean_of_weights,
    save_weights,
    set_weights,
)
from partitions.splits import TRAIN, VAL

KEPT = "trained-alone.safetensors"  # in the site's own folder of the run


@dataclass(frozen=True, kw_only=True)
class OwnTraining:
    """The best round of a site that trains alone."""

    weights: Weights
    steps: int  # gradient steps of all its rounds


def train_alone(site: Site, job: Job, sent: Weights) -> OwnTraining:
    """Rounds, schedule, optimizer and choice of the round are those of `local` in a comparison.

    What the site has kept of such a training in this run is taken instead. `sent` are the weights
    of the federation, of which only frozen entries are used: no training has changed them.
    """
    in_run = bool(job.run or job.workspace)
    if in_run and (kept := kept_training(site)) is not None:
        return kept
    config, task = job.config, TASKS[job.config.task]
    network = network_to_train(config.model, config.task, config.freeze)
    start = _first_weights(job, sent)
    set_weights(network, start)
    state: OptimizerState = {}
    best, best_round, weights, steps = None, 0, start, 0
    recent: deque[Weights] = deque(maxlen=config.average_rounds)
    for number in range(1, config.rounds + 1):
        plan = training_plan(config, site.name, number)
        fitted = fit(network, site.splits[TRAIN], plan, state)
        state = fitted.state if config.optimizer_state == "kept" else {}
        steps += fitted.steps
        found = _selection(task, _validated(site, network, config.device))
        if best_round == 0 or is_better(found, best):
            best, best_round, weights = found, number, get_weights(network)
        recent.append(get_weights(network))
        if 0 < config.patience <= number - best_round:
            break
    if len(recent) > 1:
        mean = mean_of_weights(recent, frozen_entries(config.freeze, config.model, config.task))
        set_weights(network, mean)
        if is_better(_selection(task, _validated(site, network, config.device)), best):
            weights = mean
    if in_run:
        keep_training(site, weights, steps)
    return OwnTraining(weights=weights, steps=steps)


def keep_training(site: Site, weights: Weights, steps: int) -> None:
    """Keep the best round of a site's training alone; another strategy of the run may need it."""
    save_weights(site.folder / KEPT, weights, {"steps": str(steps)})


def kept_training(site: Site) -> OwnTraining | None:
    """What the site has kept of its training alone in this run, or None."""
    path = site.folder / KEPT
    if not path.is_file():
        return None
    with safe_open(path, framework="np") as file:
        steps = int(file.metadata()["steps"])
    return OwnTraining(weights=load_weights(path), steps=steps)


def _first_weights(job: Job, sent: Weights) -> Weights:
    """The weights that every training of the run begins with.

    A hospital has no file of --init-from: there they are drawn, but for frozen entries.
    """
    config = job.config
    fresh = fresh_weights(config)
    kept = Path(job.workspace) / INITIAL
    if config.init_from and job.workspace and kept.is_file():
        started = load_weights(kept)
        return {name: started[name] for name in fresh}
    frozen = frozen_entries(config.freeze, config.model, config.task)
    return {name: sent[name] if name in frozen else value for name, value in fresh.items()}


def _validated(site: Site, network: torch.nn.Module, device: str) -> EvaluationReply:
    """Nothing of it leaves the site, so that the smallest count does not matter."""
    p = predict(network, site.splits[VAL], device=device)
    return validation_reply(site, p, min_count=0)


def _selection(task: Task, reply: EvaluationReply) -> Selection | None:
    by_source = sum_sources([reply], len(task.classes))
    rule = choose_rule({source: one.scores for source, one in by_source.items()}, task)
    confusion = confusion_of(by_source, rule, task)
    loss = reply.loss_sum / reply.n_patients if reply.n_patients else None
    return selection_score(task, by_source, confusion, loss)
