"""The ServerApp: all trainings of one run, from finding the sites to writing the tables."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fl.config.run_config import POOLED
from fl.config.strategy_traits import trains_as
from fl.evaluation.predictions import Predictions
from fl.messages.job import Job
from fl.messages.payloads import SiteInfo
from fl.privacy.differential_privacy.guarantee import is_private
from fl.runs.history_tables import RoundRow
from fl.runs.listener import Listener
from fl.runs.results import decided_by
from fl.training.frozen import network_to_train
from fl.training.state_dict import Weights
from fl.util.errors import ConfigError
from server.aggregation.flower_internals import check_resumable, restore_memory
from server.aggregation.strategies import STRATEGIES
from server.baselines.baseline_summary import train_baselines
from server.baselines.pooled_personal import personalised_after_pooled
from server.rounds.checkpoints import (
    TrainingProgress,
    load_progress,
    save_progress,
    save_trained,
)
from server.rounds.final_evaluation import (
    chosen_of,
    final_measures,
    measure_in_background,
    site_predictions,
    training_summary,
)
from server.rounds.initial_weights import initial_weights
from server.rounds.round_loop import rounds_left, run_rounds
from server.rounds.site_requests import Federation, discover_sites, sync_sites
from server.rounds.training_results import TrainingResult, load_result, save_result, write_tables

Finished = Callable[[TrainingResult], None]


class SilentListener:
    """A listener that shows nothing."""

    def training(self, strategy: str, rounds: int, sites: Sequence[SiteInfo]) -> None: ...

    def site(self, round_number: int, site: str, doing: str, note: str) -> None: ...

    def round(self, row: RoundRow) -> None: ...

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None: ...


def server_app(listener: Listener, finished: Finished | None = None) -> ServerApp:
    """A ServerApp that reports to `listener` and hands each training to `finished` at its end.

    Its run configuration holds one key, `job`: a `Job` as JSON.
    """
    new_app = ServerApp()

    @new_app.main()
    def main(grid: Grid, context: Context) -> None:
        if "job" not in context.run_config:
            raise ConfigError(
                "This app is started by run_sim.py, which gives it `job`. Run: "
                "python run_sim.py --engine flower"
            )
        job = Job.model_validate_json(str(context.run_config["job"]))
        federation = discover_sites(grid, job, listener)
        for result in run_trainings(federation):
            if finished is not None:
                finished(result)

    return new_app


app = server_app(SilentListener())


def initial_extra(job: Job) -> Weights:
    """The arrays that the run's strategy sends beside the weights, before the first round."""
    rule = STRATEGIES[job.config.strategy].extra
    if rule is None:
        return {}
    config = job.config
    return rule.initial(network_to_train(config.model, config.task, config.freeze))


def run_trainings(federation: Federation) -> Iterator[TrainingResult]:
    """Every training of the run, one after the other; those that are over are read from disk.

    In a comparison, first each site alone and all records pooled, then each strategy.
    """
    config, folder, task = federation.job.config, federation.folder, federation.task
    results: list[TrainingResult] = []
    if config.compare:
        results += train_baselines(federation, initial_weights(federation.job))
        yield from results
        if config.after_pooled:
            (pooled,) = [result for result in results if result.name == POOLED]
            results.append(personalised_after_pooled(federation, pooled))
            yield results[-1]
    for name in config.strategies:
        job = federation.job.model_copy(
            update={"config": config.for_strategy(name), "strategy": name}
        )
        one = replace(federation, job=job, finished=tuple(results))
        result = load_result(folder, task, name)
        if result is None:
            result = summarise(one, train(one))
            sync_sites(one)
            result = save_result(folder, result)
        results.append(result)
        yield result
    write_tables(folder, task, results)


def train(federation: Federation) -> TrainingProgress:
    """All rounds, from the last checkpoint if there is one; writes both sets of weights."""
    job = federation.job
    progress = start_or_resume(federation)
    name = job.config.strategy
    strategy = STRATEGIES[name].make(job.config)
    restore_memory(name, strategy, progress.memory)
    progress = run_rounds(federation, strategy, progress)
    save_trained(federation.folder, job, job.strategy, progress)
    return progress


def start_or_resume(federation: Federation) -> TrainingProgress:
    """The last checkpoint of a training, or its beginning; `ConfigError` if it cannot go on."""
    job = federation.job
    progress = load_progress(federation.folder / "checkpoint" / job.strategy)
    if progress is None and (same := same_training(federation)):
        return same
    if progress is None:
        start = initial_weights(job)
        return TrainingProgress(weights=start, best_weights=start, extra=initial_extra(job))
    if progress.round < job.config.rounds and rounds_left(job.config, progress):
        check_resumable(job.config.strategy, progress.memory_saved)
    return progress


def same_training(federation: Federation) -> TrainingProgress | None:
    """The end of an earlier training of this run that was the same, bit for bit, in every round.

    It becomes the first checkpoint of this training. None if there is none.
    """
    job = federation.job
    for earlier in federation.finished:
        if trains_as(earlier.name) != trains_as(job.strategy):
            continue
        progress = load_progress(federation.folder / "checkpoint" / earlier.name)
        if progress is None:
            continue
        progress.round_rows = [replace(row, strategy=job.strategy) for row in progress.round_rows]
        progress.site_rows = [replace(row, strategy=job.strategy) for row in progress.site_rows]
        save_progress(federation.folder / "checkpoint" / job.strategy, progress)
        return progress
    return None


def summarise(federation: Federation, progress: TrainingProgress) -> TrainingResult:
    """The best round on test: each site on its own records, the server on those of no site."""
    job, task = federation.job, federation.task
    chosen = progress.best_weights, progress.chosen_rule
    with ThreadPoolExecutor(1) as testing:  # while the sites test, this process has little to do
        at_server = measure_in_background(testing, job, job.strategy, *chosen)
        sites = final_measures(federation, progress)
    # A hospital keeps its predictions; those of a simulated site are in the run directory.
    in_run_directory = {} if job.deployed else sites
    at_sites = site_predictions(federation.folder, task, job.strategy, in_run_directory)
    measures, predicted = at_server.result()
    return TrainingResult(
        name=job.strategy,
        summary=training_summary(
            measures,
            sites,
            **decided_by(progress.rule),
            **chosen_of(progress),
            **({"last_counts": True} if is_private(job.config) else {}),
            rounds=progress.round,
            gradient_steps=progress.steps,
            lr=job.config.lr,
        ),
        round_rows=progress.round_rows,
        site_rows=progress.site_rows,
        failures=[*federation.refused, *progress.failures],
        predictions=Predictions.joined([predicted, at_sites], task.classes),
    )
