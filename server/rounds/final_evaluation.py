"""Test results of a training: the sites', the server's own, and averages over sites."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from torch import nn

from fl.data.cohort import Cohort
from fl.ecg.tasks import TASKS, Task
from fl.evaluation.decisions.decision_rule import DecisionRule, answer
from fl.evaluation.group_evaluation import GroupMeasures, evaluate_sources, mean_over_models
from fl.evaluation.metrics import mean_of
from fl.evaluation.predictions import Predictions, read_predictions
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply
from fl.models import build_network
from fl.runs.history_tables import SiteRow
from fl.runs.results import SiteMean, SiteSpread, TrainingSummary, WorstSite
from fl.training.device import one_thread
from fl.training.loop import predict
from fl.training.state_dict import Weights, set_weights
from partitions.partition import CENTRAL, UNSEEN, open_partition
from partitions.splits import TEST
from server.rounds.checkpoints import TrainingProgress
from server.rounds.model_selection import evaluation_loss
from server.rounds.site_evaluation import evaluate_sites
from server.rounds.site_requests import Federation

_OPENING = Lock()  # several models are tested at a time, and all wait for the first to open
SiteMeasures = Mapping[str, GroupMeasures | None]  # None: the site sent none


@dataclass(frozen=True, kw_only=True)
class ServerMeasures:
    """The server's own measures, on test records that no site holds."""

    central: GroupMeasures | None  # None: there are no such records
    unseen: GroupMeasures | None
    central_by_source: dict[str, GroupMeasures]


def server_cohorts(job: Job) -> Mapping[str, Cohort]:
    """Test records of no site, by group."""
    if not job.shards:  # a coordinator that has no recordings of its own
        return {}
    partition = Path(job.workspace) / "partition.csv"
    with _OPENING:
        return _opened_cohorts(job.config.task, job.shards, partition, partition.stat().st_mtime_ns)


# Every model of a run is tested on the same records, and opening them takes as long as a test.
# One run's are kept: those of several folds would fill the memory.
@lru_cache(maxsize=1)
def _opened_cohorts(
    task: str, shards: tuple[str, ...], partition_file: Path, written: int
) -> Mapping[str, Cohort]:
    """`server_cohorts`, with the time at which partition.csv was written."""
    cohort, partition = open_partition(partition_file, TASKS[task], shards)
    groups = {name: partition.rows(name, TEST) for name in (CENTRAL, UNSEEN)}
    return {name: cohort.take(rows) for name, rows in groups.items() if len(rows)}


def measure_in_background(
    testing: Executor, job: Job, strategy: str, weights: Weights, rule: DecisionRule
) -> Future[tuple[ServerMeasures, Predictions]]:
    """`evaluate_server_groups` by another thread, while this one has sites train or test."""
    # Made here: its first weights are drawn from torch's one generator, from which a site that is
    # trained in this process at the time draws its dropout.
    network = build_network(job.config.model, TASKS[job.config.task])
    return testing.submit(evaluate_server_groups, network, job, strategy, weights, rule)


def evaluate_server_groups(
    network: nn.Module, job: Job, strategy: str, weights: Weights, rule: DecisionRule
) -> tuple[ServerMeasures, Predictions]:
    """Measures of weights on the central and the unseen records, and what they predict there.

    Each group is the mean over its sources, weighted by their patients. `network` is one of the
    job's model, for this alone.
    """
    one_thread()
    task = TASKS[job.config.task]
    set_weights(network, weights)
    groups: dict[str, GroupMeasures] = {}
    by_source: dict[str, GroupMeasures] = {}
    parts = []
    for name, cohort in server_cohorts(job).items():
        raw = predict(network, cohort, device=job.config.device)
        p, decided = answer(rule, raw, cohort.sources, task.classes)
        groups[name], each = evaluate_sources(cohort, p, decided, job.config.seed)
        by_source |= each if name == CENTRAL else {}
        parts.append(
            Predictions.of_cohort(cohort, p, decided, strategy=strategy, site=name, split=TEST)
        )
    measures = ServerMeasures(
        central=groups.get(CENTRAL), unseen=groups.get(UNSEEN), central_by_source=by_source
    )
    return measures, Predictions.joined(parts, task.classes)


def site_predictions(folder: Path, task: Task, strategy: str, sites: SiteMeasures) -> Predictions:
    """The predictions that simulated sites wrote, in order of site name."""
    site_folders = folder / "checkpoint" / "sites"
    paths = [
        site_folders / site / f"predictions-{strategy}.csv"
        for site, measures in sorted(sites.items())
        if measures
    ]
    return Predictions.joined([read_predictions(p, task.classes) for p in paths], task.classes)


def training_summary(
    server: ServerMeasures, sites: SiteMeasures, **training: Any
) -> TrainingSummary:
    """A training's place in summary.json; `training` holds the fields that are not measures."""
    return TrainingSummary(**vars(server), sites=dict(sites), **training, **across_sites(sites))


def chosen_of(progress: TrainingProgress) -> dict[str, int]:
    """The fields of a summary that say which weights a training ends with."""
    averaged = {"averaged": progress.averaged} if progress.averaged else {}
    return {"best_round": progress.best_round, **averaged}


def across_sites(sites: SiteMeasures) -> dict[str, Any]:
    """Worst site, mean and spread of the sites whose macro-F1 can be measured."""
    measured = {site: measures for site, measures in sites.items() if measures}
    f1 = {site: measures.macro_f1.value for site, measures in measured.items()}
    f1_known = {site: value for site, value in f1.items() if value is not None}
    if not f1_known:
        return {"worst_site": None, "site_mean": None, "spread": None}
    worst = min(f1_known, key=lambda site: (f1_known[site], site))
    values = np.array(list(f1_known.values()))
    auroc = mean_of([measures.macro_auroc.value for measures in measured.values()])
    return {
        "worst_site": WorstSite(site=worst, macro_f1=f1_known[worst]),
        "site_mean": SiteMean(macro_f1=float(values.mean()), macro_auroc=auroc),
        "spread": SiteSpread(
            macro_f1_sd=float(values.std()), macro_f1_range=float(values.max() - values.min())
        ),
    }


def mean_of_servers(models: Sequence[ServerMeasures]) -> ServerMeasures:
    """Several models' measures of the same records as one: each figure is the models' mean."""
    return ServerMeasures(
        central=mean_over_models([model.central for model in models]),
        unseen=mean_over_models([model.unseen for model in models]),
        central_by_source=mean_over_models([model.central_by_source for model in models]),
    )


def final_measures(
    federation: Federation, progress: TrainingProgress
) -> dict[str, GroupMeasures | None]:
    """The best round's weights on every site's test records: the site's own measures."""
    evaluated = evaluate_sites(
        federation, progress, progress.best_weights, progress.best_round, TEST, progress.chosen_rule
    )
    label, best = federation.job.strategy, progress.best_round
    progress.site_rows += [site_test_row(label, best, reply) for reply in evaluated]
    progress.steps += sum(reply.steps for reply in evaluated)
    return {reply.site: reply.report for reply in evaluated}


def site_test_row(strategy: str, best_round: int, evaluated: EvaluationReply) -> SiteRow:
    """A site's line of sites.csv for its test records."""
    measures = evaluated.report
    return SiteRow(
        strategy=strategy,
        round=best_round,
        site=evaluated.site,
        split=TEST,
        n_records=evaluated.n_records,
        loss=evaluation_loss([evaluated]),
        macro_f1=measures.macro_f1.value if measures else None,
        macro_auroc=measures.macro_auroc.value if measures else None,
    )
