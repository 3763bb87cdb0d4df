"""Test results of a training: the sites', the server's own, and averages over sites."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fl.data.cohort import Cohort
from fl.ecg.tasks import TASKS
from fl.evaluation.group_evaluation import evaluate_group
from fl.evaluation.metrics import mean_of
from fl.evaluation.predictions import predictions_text
from fl.evaluation.thresholds import Thresholds
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply
from fl.models import build_network
from fl.runs.listener import TableRow
from fl.training.device import one_thread
from fl.training.loop import predict
from fl.training.state_dict import Weights, set_weights
from partitions.partition import CENTRAL, UNSEEN, open_partition
from partitions.splits import TEST
from server.rounds.checkpoints import TrainingProgress
from server.rounds.model_selection import mean_loss
from server.rounds.site_evaluation import evaluate_sites
from server.rounds.site_requests import Federation

Groups = dict[str, Any]


def server_cohorts(job: Job) -> dict[str, Cohort]:
    """Test records of no site, by group."""
    if not job.shards:  # a coordinator that has no recordings of its own
        return {}
    task, folder = TASKS[job.config.task], Path(job.workspace)
    cohort, partition = open_partition(folder / "partition.csv", task, job.shards)
    groups = {name: partition.rows(name, TEST) for name in (CENTRAL, UNSEEN)}
    return {name: cohort.take(rows) for name, rows in groups.items() if len(rows)}


def evaluate_server_groups(
    job: Job, strategy: str, weights: Weights, thresholds: Mapping[str, Thresholds] | None
) -> tuple[Groups, str]:
    """Weights on the central and the unseen records: measures, and lines of predictions.csv."""
    one_thread()
    network = build_network(job.config.model, TASKS[job.config.task])
    set_weights(network, weights)
    groups: Groups = {CENTRAL: None, UNSEEN: None, "central_by_source": {}}
    text = ""
    for name, cohort in server_cohorts(job).items():
        p = predict(network, cohort, device=job.config.device)
        groups[name] = evaluate_group(cohort, p, thresholds, job.config.seed)
        if name == CENTRAL:
            groups["central_by_source"] = {
                str(source): evaluate_group(
                    cohort.take(rows := np.flatnonzero(cohort.sources == source)),
                    p[rows],
                    thresholds,
                    job.config.seed,
                )
                for source in np.unique(cohort.sources)
            }
        text += predictions_text(cohort, p, strategy, name, TEST)
    return groups, text


def site_predictions(folder: Path, strategy: str, sites: Mapping[str, object]) -> str:
    """Lines of predictions.csv that simulated sites wrote, in order of site name."""
    site_folders = folder / "checkpoint" / "sites"
    return "".join(
        (site_folders / site / f"predictions-{strategy}.csv").read_text()
        for site, report in sorted(sites.items())
        if report
    )


def across_sites(sites: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Worst site, mean and spread of the sites whose macro-F1 can be measured."""
    all_f1 = {site: report["macro_f1"]["value"] for site, report in sites.items() if report}
    f1 = {site: value for site, value in all_f1.items() if value is not None}
    if not f1:
        return {"worst_site": None, "site_mean": None, "spread": None}
    worst = min(f1, key=lambda site: (f1[site], site))
    values = np.array(list(f1.values()))
    aurocs = [r["macro_auroc"]["value"] for r in sites.values() if r]
    return {
        "worst_site": {"site": worst, "macro_f1": f1[worst]},
        "site_mean": {"macro_f1": float(values.mean()), "macro_auroc": mean_of(aurocs)},
        "spread": {
            "macro_f1_sd": float(values.std()),
            "macro_f1_range": float(values.max() - values.min()),
        },
    }


def mean_group(groups: Sequence[Any]) -> Any:
    """Measures of several models on the same records as one: each figure is the models' mean.

    A mean of models has no interval (`low` and `high` are None). Lists of bins cannot be averaged
    and are empty. Counts are of the same records and stay as they are.
    """
    first = groups[0]
    if isinstance(first, dict):
        means = {key: mean_group([group[key] for group in groups]) for key in first}
        return means | {key: None for key in ("low", "high") if key in first}
    if isinstance(first, list):
        return first if all(isinstance(item, str) for item in first) else []
    if all(group == first for group in groups):
        return first
    return mean_of(groups)


def final_measures(federation: Federation, progress: TrainingProgress) -> dict[str, dict[str, Any]]:
    """The best round's weights on every site's test records: the site's own measures."""
    evaluated = evaluate_sites(
        federation, progress, progress.best_weights, progress.best_round, TEST, progress.thresholds
    )
    label = federation.job.strategy
    progress.site_rows += [site_test_row(label, progress.best_round, e) for e in evaluated]
    progress.steps += sum(e.steps for e in evaluated)
    return {e.site: e.report for e in evaluated}


def site_test_row(strategy: str, best_round: int, evaluated: EvaluationReply) -> TableRow:
    """A site's line of sites.csv for its test records."""
    report = evaluated.report
    return {
        "strategy": strategy,
        "round": best_round,
        "site": evaluated.site,
        "split": TEST,
        "n_records": evaluated.n_records,
        "loss": mean_loss([(evaluated.loss_sum, evaluated.n_records)]),
        "macro_f1": report["macro_f1"]["value"] if report else None,
        "macro_auroc": report["macro_auroc"]["value"] if report else None,
    }
