"""A comparison's `local` and `pooled`: all their trainings at once, and their results."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from fl.config.run_config import LOCAL, POOLED
from fl.evaluation.metrics import mean_of
from fl.evaluation.predictions import Predictions
from fl.messages.payloads import SiteInfo
from fl.runs.history_tables import RoundRow, SiteRow
from fl.runs.results import decided_by
from fl.training.state_dict import Weights
from fl.util.errors import FederationError
from partitions.splits import TEST
from server.baselines.baselines import BaselineTraining
from server.baselines.concurrent_trainings import run_concurrently
from server.engines.ray_workers import n_workers
from server.rounds.checkpoints import TrainingProgress, load_progress
from server.rounds.final_evaluation import (
    ServerMeasures,
    chosen_of,
    mean_of_servers,
    site_predictions,
    training_summary,
)
from server.rounds.history import History, write_history
from server.rounds.model_selection import mean_loss
from server.rounds.site_requests import Federation
from server.rounds.training_results import TrainingResult, load_result, save_result

SERVER_TESTS = 4  # models at once that the server tests at most: each takes memory


@dataclass(frozen=True)
class TrainingHistory:
    """The history of several trainings under one name."""

    round_rows: list[RoundRow]
    site_rows: list[SiteRow]


def train_baselines(
    federation: Federation, start: Weights, names: Sequence[str] = (LOCAL, POOLED)
) -> list[TrainingResult]:
    """The trainings `local` and `pooled`, from the first weights or from where they stopped."""
    folder, config, task = federation.folder, federation.job.config, federation.task
    results = {name: load_result(folder, task, name) for name in names}
    trainings: dict[str, list[BaselineTraining]] = {}

    def rewrite_history() -> None:
        histories: list[History] = [
            result or merged_history(name, trainings[name]) for name, result in results.items()
        ]
        write_history(folder, histories)

    width = n_workers(config, len(federation.nodes))
    with ThreadPoolExecutor(min(width, SERVER_TESTS)) as testing:
        for name, result in results.items():
            trainings[name] = (
                []
                if result
                else prepare_baselines(federation, name, start, rewrite_history, testing)
            )
            if not result:
                trainees = [training.trainee for training in trainings[name]]
                federation.listener.training(name, config.rounds, trainees)
        everything = [training for same_name in trainings.values() for training in same_name]
        failed = run_concurrently(federation.grid, everything, width, config.timeout)
    return [
        result or save_result(folder, baseline_result(name, trainings[name], failed, federation))
        for name, result in results.items()
    ]


def prepare_baselines(
    federation: Federation,
    name: str,
    start: Weights,
    write_history: Callable[[], None],
    testing: Executor,
) -> list[BaselineTraining]:
    """The trainings of one name: of every site that has training records, or of all as one."""
    job = federation.job.model_copy(
        update={"config": federation.job.config.for_baseline(name), "strategy": name}
    )
    own = replace(federation, job=job)
    able = [info for info in federation.sites.values() if info.n_train > 0]
    if name == POOLED:
        total = sum(info.n_train for info in able)
        # Each site has rounded its records by itself, and all of them as one are rounded once.
        n_records = sum(info.n_records + 1 for info in able)
        everyone = SiteInfo(site=POOLED, n_train=total, n_val=0, n_test=0, n_records=n_records)
        return [_baseline(own, POOLED, everyone, federation.nodes, start, write_history, testing)]
    return [
        _baseline(
            own,
            f"{LOCAL}-{info.site}",
            info,
            {info.site: federation.nodes[info.site]},
            start,
            write_history,
            testing,
        )
        for info in able
    ]


def _baseline(
    federation: Federation,
    name: str,
    trainee: SiteInfo,
    nodes: Mapping[str, int],
    start: Weights,
    write_history: Callable[[], None],
    testing: Executor,
) -> BaselineTraining:
    progress = load_progress(federation.folder / "checkpoint" / name)
    return BaselineTraining(
        name=name,
        federation=federation,
        trainee=trainee,
        nodes=nodes,
        progress=progress or TrainingProgress(weights=start, best_weights=start),
        write_history=write_history,
        testing=testing,
        load=trainee.n_records,
    )


def baseline_result(
    name: str,
    trainings: Sequence[BaselineTraining],
    failed: Mapping[str, str],
    federation: Federation,
) -> TrainingResult:
    """What a comparison keeps of `local` or of `pooled`, once all its trainings are over."""
    done = [training for training in trainings if training.name not in failed]
    quorum = 1.0 if name == POOLED else federation.job.config.quorum
    if len(done) < math.ceil(quorum * len(trainings)):
        raise FederationError(" ".join(failed[t.name] for t in trainings if t.name in failed))
    history = merged_history(name, trainings)
    reports = {site: report for training in done for site, report in training.reports.items()}
    sites = {site: reports.get(site) for site in sorted(federation.sites)}
    at_server = [training.at_server[1] for training in done]
    at_sites = site_predictions(federation.folder, federation.task, name, sites)
    predictions = [*at_server, at_sites] if name == POOLED else [at_sites, *at_server]
    return TrainingResult(
        name=name,
        summary=training_summary(
            _server_measures(name, done),
            sites,
            **(_of_pooled(done[0]) if name == POOLED else _of_local(done)),
            rounds=max(training.progress.round for training in done),
            gradient_steps=sum(training.progress.steps for training in trainings),
            lr=trainings[0].job.config.lr,
        ),
        round_rows=history.round_rows,
        site_rows=history.site_rows,
        failures=[failure for training in trainings for failure in training.progress.failures],
        predictions=Predictions.joined(predictions, federation.task.classes),
    )


def _server_measures(name: str, done: Sequence[BaselineTraining]) -> ServerMeasures:
    """Measures on records of no site; of `local` the mean over its models."""
    measures = [training.at_server[0] for training in done]
    return measures[0] if name == POOLED else mean_of_servers(measures)


def _of_pooled(training: BaselineTraining) -> dict[str, Any]:
    rule = decided_by(training.progress.rule)
    return {**rule, **chosen_of(training.progress)}


def _of_local(trainings: Sequence[BaselineTraining]) -> dict[str, Any]:
    """What each site's own model chose and reached, by site."""
    averaged = {t.trains: t.progress.averaged for t in trainings}
    return {
        **decided_by(None),
        "best_round": None,
        **{
            f"{part}_by_site": {t.trains: decided_by(t.progress.rule)[part] for t in trainings}
            for part in decided_by(None)
        },
        "best_round_by_site": {t.trains: t.progress.best_round for t in trainings},
        **({"averaged_by_site": averaged} if any(averaged.values()) else {}),
        "central_by_site": {t.trains: t.at_server[0].central for t in trainings},
        "unseen_by_site": {t.trains: t.at_server[0].unseen for t in trainings},
    }


def merged_history(name: str, trainings: Sequence[BaselineTraining]) -> TrainingHistory:
    """The history of trainings that go on at the same time, as one training's."""
    rows = [row for training in trainings for row in training.progress.round_rows]
    site_rows = [row for training in trainings for row in training.progress.site_rows]
    if name == POOLED:
        return TrainingHistory(rows, site_rows)
    trained = [row for row in rows if not row.averaged]
    last = max((row.round for row in trained), default=0)
    rounds = [[row for row in trained if row.round == number] for number in range(1, last + 1)]
    means = [row for row in rows if row.averaged]  # with --patience, of several last rounds
    return TrainingHistory(
        [mean_round(same_round) for same_round in [*rounds, *([means] if means else [])]],
        sorted(site_rows, key=lambda row: (row.split == TEST, row.site, row.round)),
    )


def mean_round(rows: Sequence[RoundRow]) -> RoundRow:
    """One line of rounds.csv for a round of several models, such as one at each site.

    Losses are means over records, as a federation's are; macro-F1 and macro-AUROC, which cannot
    be pooled over different models, are means over the models.
    """
    return RoundRow(
        strategy=rows[0].strategy,
        round=max(row.round for row in rows),
        seconds=sum(row.seconds for row in rows),
        participants=sum(row.participants for row in rows),
        failures=sum(row.failures for row in rows),
        train_loss=_mean_loss([(row.train_loss, row.n_train) for row in rows]),
        val_loss=_mean_loss([(row.val_loss, row.n_val) for row in rows]),
        val_macro_f1=mean_of([row.val_macro_f1 for row in rows]),
        val_macro_auroc=mean_of([row.val_macro_auroc for row in rows]),
        averaged=max(row.averaged for row in rows),
    )


def _mean_loss(parts: Sequence[tuple[float | None, int | None]]) -> float | None:
    """Mean over records of the sites' own mean losses, each with its number of records."""
    return mean_loss([(loss * n, n) for loss, n in parts if loss is not None and n is not None])
