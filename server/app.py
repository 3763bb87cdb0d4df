"""The ServerApp: one run's trainings from roll call to tables, whatever carries them."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fl.ecg.tasks import TASKS
from fl.evaluation.predictions import Predictions
from fl.messages.job import Job
from fl.models import build_network
from fl.runs.history_tables import RoundRow
from fl.training.state_dict import Weights, get_weights
from fl.util.errors import ConfigError
from fl.util.random_streams import torch_seed
from server.aggregation.flower_internals import restore_memory
from server.aggregation.strategies import STRATEGIES
from server.baselines.baseline_summary import train_baselines
from server.rounds.checkpoints import TrainingProgress, load_progress, save_trained
from server.rounds.final_evaluation import (
    evaluate_server_groups,
    final_measures,
    site_predictions,
    training_summary,
)
from server.rounds.round_loop import run_rounds
from server.rounds.site_requests import Federation, Listener, discover_sites
from server.rounds.training_results import TrainingResult, load_result, save_result, write_tables

Finished = Callable[[TrainingResult], None]


class SilentListener:
    """A listener that shows nothing."""

    def training(self, strategy: str, rounds: int, sites: object) -> None: ...

    def site(self, round_number: int, site: str, doing: str, note: str) -> None: ...

    def round(self, row: RoundRow) -> None: ...

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None: ...


def server_app(listener: Listener, finished: Finished | None = None) -> ServerApp:
    """A ServerApp that reports to `listener` and hands each training to `finished` at its end.

    Its run configuration holds one key, `job`: a `Job` as JSON.
    """
    made = ServerApp()

    @made.main()
    def main(grid: Grid, context: Context) -> None:
        if "job" not in context.run_config:
            raise ConfigError(
                "This app is started by run_sim.py, which gives it `job`. Run: "
                "python run_sim.py --engine flower"
            )
        job = Job.model_validate_json(str(context.run_config["job"]))
        federation = discover_sites(grid, job, listener)
        for part in run_trainings(federation):
            if finished is not None:
                finished(part)

    return made


app = server_app(SilentListener())


def initial_weights(job: Job) -> Weights:
    """The weights every run of this seed and model begins with."""
    torch.manual_seed(torch_seed(job.config.seed, "init", job.config.model))
    return get_weights(build_network(job.config.model, TASKS[job.config.task]))


def first_control(job: Job) -> Weights:
    """SCAFFOLD's control variate before the first round: zero for every parameter."""
    if job.config.strategy != "scaffold":
        return {}
    network = build_network(job.config.model, TASKS[job.config.task])
    return {
        name: np.zeros(parameter.shape, dtype=np.float32)
        for name, parameter in network.named_parameters()
    }


def run_trainings(federation: Federation) -> Iterator[TrainingResult]:
    """Every training of the run, one after the other; those that are over are read again.

    In a comparison, first each site alone and all records pooled, then each strategy.
    """
    config, folder, task = federation.job.config, federation.folder, federation.task
    done: list[TrainingResult] = []
    if config.compare:
        done += train_baselines(federation, initial_weights(federation.job))
        yield from done
    for name in config.strategies:
        job = federation.job.model_copy(
            update={"config": config.for_strategy(name), "strategy": name}
        )
        one = replace(federation, job=job, finished=tuple(done))
        part = load_result(folder, task, name)
        part = part or save_result(folder, task, summarise(one, train(one)))
        done.append(part)
        yield part
    write_tables(folder, task, done)


def train(federation: Federation) -> TrainingProgress:
    """All rounds, from the last checkpoint if there is one; writes both sets of weights."""
    job = federation.job
    progress = load_progress(federation.folder / "checkpoint" / job.strategy)
    if progress is None:
        start = initial_weights(job)
        progress = TrainingProgress(weights=start, best_weights=start, control=first_control(job))
    strategy = STRATEGIES[job.config.strategy].make(job.config)
    restore_memory(strategy, progress.memory)
    progress = run_rounds(federation, strategy, progress)
    save_trained(federation.folder, job, job.strategy, progress)
    return progress


def summarise(federation: Federation, progress: TrainingProgress) -> TrainingResult:
    """The best round on test: each site by itself, the central and the unseen records here."""
    job = federation.job
    sites = final_measures(federation, progress)
    # A hospital keeps its predictions; in a simulation they are in the run directory already.
    known = {} if job.deployed else sites
    of_sites = site_predictions(federation.folder, federation.task, job.strategy, known)
    measures, predictions = evaluate_server_groups(
        job, job.strategy, progress.best_weights, progress.thresholds
    )
    return TrainingResult(
        name=job.strategy,
        summary=training_summary(
            measures,
            sites,
            thresholds=progress.thresholds,
            best_round=progress.best_round,
            rounds=progress.round,
            gradient_steps=progress.steps,
            lr=job.config.lr,
        ),
        rounds=progress.rounds,
        sites=progress.sites,
        failures=progress.failures,
        predictions=Predictions.joined([predictions, of_sites], federation.task.classes),
    )
