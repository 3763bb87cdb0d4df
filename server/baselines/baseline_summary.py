"""A comparison's `local` and `pooled`: all their trainings at once, and what comes of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fl.config.run_config import LOCAL, POOLED
from fl.evaluation.metrics import mean_of
from fl.evaluation.predictions import Predictions
from fl.messages.payloads import SiteInfo
from fl.runs.history_tables import RoundRow, SiteRow
from fl.training.state_dict import Weights
from fl.util.errors import FederationError
from partitions.splits import TEST
from server.baselines.baselines import BaselineTraining
from server.baselines.concurrent_trainings import run_concurrently
from server.engines.ray_workers import n_workers
from server.rounds.checkpoints import TrainingProgress, load_progress
from server.rounds.final_evaluation import (
    mean_of_servers,
    site_predictions,
    training_summary,
)
from server.rounds.history import write_history
from server.rounds.model_selection import mean_loss
from server.rounds.site_requests import Federation
from server.rounds.training_results import TrainingResult, load_result, save_result


@dataclass(frozen=True)
class TrainingHistory:
    """The history of several trainings under one name."""

    rounds: list[RoundRow]
    sites: list[SiteRow]


def train_baselines(
    federation: Federation, start: Weights, names: Sequence[str] = (LOCAL, POOLED)
) -> list[TrainingResult]:
    """The trainings `local` and `pooled`, from the first weights on or from where they stopped."""
    folder, config, task = federation.folder, federation.job.config, federation.task
    parts = {name: load_result(folder, task, name) for name in names}
    courses: dict[str, list[BaselineTraining]] = {}

    def history() -> None:
        told = [part or merged_history(name, courses[name]) for name, part in parts.items()]
        write_history(folder, told)

    for name, part in parts.items():
        courses[name] = [] if part else prepare_baselines(federation, name, start, history)
        if not part:
            trained = [c.hello for c in courses[name]]
            federation.listener.training(name, config.rounds, trained)
    every = [course for some in courses.values() for course in some]
    width = n_workers(federation.job.config, len(federation.nodes))
    failed = run_concurrently(federation.grid, every, width, config.timeout)
    return [
        part or save_result(folder, task, baseline_result(name, courses[name], failed, federation))
        for name, part in parts.items()
    ]


def prepare_baselines(
    federation: Federation, name: str, start: Weights, history: Callable[[], None]
) -> list[BaselineTraining]:
    """The trainings of one name: of every site that has training records, or of all as one."""
    # Plain training: what a strategy has its sites do beside it belongs to the strategy.
    settings = federation.job.config.for_strategy("fedavg")
    job = federation.job.model_copy(update={"config": settings, "strategy": name})
    one = replace(federation, job=job)
    able = [hello for hello in federation.sites.values() if hello.n_train > 0]
    if name == POOLED:
        total = sum(hello.n_train for hello in able)
        everyone = SiteInfo(site=POOLED, n_train=total, n_val=0, n_test=0)
        return [_baseline(one, POOLED, everyone, federation.nodes, start, history)]
    return [
        _baseline(
            one,
            f"{LOCAL}-{hello.site}",
            hello,
            {hello.site: federation.nodes[hello.site]},
            start,
            history,
        )
        for hello in able
    ]


def _baseline(
    federation: Federation,
    name: str,
    hello: SiteInfo,
    nodes: Mapping[str, int],
    start: Weights,
    history: Callable[[], None],
) -> BaselineTraining:
    progress = load_progress(federation.folder / "checkpoint" / name)
    return BaselineTraining(
        name=name,
        federation=federation,
        hello=hello,
        nodes=nodes,
        progress=progress or TrainingProgress(weights=start, best_weights=start),
        history=history,
        load=hello.n_train,
    )


def baseline_result(
    name: str,
    courses: Sequence[BaselineTraining],
    failed: Mapping[str, str],
    federation: Federation,
) -> TrainingResult:
    """What a comparison keeps of `local` or of `pooled`, once all its trainings are over."""
    done = [course for course in courses if course.name not in failed]
    quorum = 1.0 if name == POOLED else federation.job.config.quorum
    if len(done) < math.ceil(quorum * len(courses)):
        raise FederationError(" ".join(failed[c.name] for c in courses if c.name in failed))
    job, told = courses[0].job, merged_history(name, courses)
    reports = {site: report for course in done for site, report in course.reports.items()}
    sites = {site: reports.get(site) for site in sorted(federation.sites)}
    of_sites = site_predictions(federation.folder, federation.task, name, sites)
    on_server = [course.on_server[1] for course in done]
    predictions = [*on_server, of_sites] if name == POOLED else [of_sites, *on_server]
    return TrainingResult(
        name=name,
        summary=training_summary(
            mean_of_servers([course.on_server[0] for course in done])
            if name == LOCAL
            else done[0].on_server[0],
            sites,
            **(_of_one(done[0]) if name == POOLED else _of_each(done)),
            rounds=max(course.progress.round for course in done),
            gradient_steps=sum(course.progress.steps for course in courses),
            lr=job.config.lr,
        ),
        rounds=told.rounds,
        sites=told.sites,
        failures=[failure for course in courses for failure in course.progress.failures],
        predictions=Predictions.joined(predictions, federation.task.classes),
    )


def _of_one(course: BaselineTraining) -> dict[str, Any]:
    return {"thresholds": course.progress.thresholds, "best_round": course.progress.best_round}


def _of_each(courses: Sequence[BaselineTraining]) -> dict[str, Any]:
    """What every site's own model has of its own, by site."""
    return {
        "thresholds": None,
        "best_round": None,
        "thresholds_by_site": {c.trains: c.progress.thresholds for c in courses},
        "best_round_by_site": {c.trains: c.progress.best_round for c in courses},
        "central_by_site": {course.trains: course.on_server[0].central for course in courses},
        "unseen_by_site": {course.trains: course.on_server[0].unseen for course in courses},
    }


def merged_history(name: str, courses: Sequence[BaselineTraining]) -> TrainingHistory:
    """The history of trainings that go on side by side, as one training's."""
    rows = [row for course in courses for row in course.progress.rounds]
    sites = [row for course in courses for row in course.progress.sites]
    if name == POOLED:
        return TrainingHistory(rows, sites)
    last = max((row.round for row in rows), default=0)
    rounds = [[row for row in rows if row.round == number] for number in range(1, last + 1)]
    return TrainingHistory(
        [_one_row(same) for same in rounds],
        sorted(sites, key=lambda row: (row.split == TEST, row.site, row.round)),
    )


def _one_row(rows: Sequence[RoundRow]) -> RoundRow:
    """One line of rounds.csv for a round of several sites that each have a model of their own.

    Losses are means over records, as a federation's are; macro-F1 and macro-AUROC, which cannot
    be pooled over different models, are means over the sites.
    """
    return RoundRow(
        strategy=rows[0].strategy,
        round=rows[0].round,
        seconds=sum(row.seconds for row in rows),
        participants=sum(row.participants for row in rows),
        failures=sum(row.failures for row in rows),
        train_loss=_mean_loss([(row.train_loss, row.n_train) for row in rows]),
        val_loss=_mean_loss([(row.val_loss, row.n_val) for row in rows]),
        val_macro_f1=mean_of([row.val_macro_f1 for row in rows]),
        val_macro_auroc=mean_of([row.val_macro_auroc for row in rows]),
    )


def _mean_loss(parts: Sequence[tuple[float | None, int | None]]) -> float | None:
    """Mean over records of sites' own mean losses, each with its number of records."""
    return mean_loss([(loss * n, n) for loss, n in parts if loss is not None and n is not None])
