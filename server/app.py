"""The ServerApp: one federated training from roll call to summary, whatever carries it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fl.cohort import Cohort
from fl.errors import ConfigError
from fl.evaluation import evaluate_group, predictions_header, predictions_text, write_predictions
from fl.metrics import mean_of
from fl.models import build_network
from fl.seeds import torch_seed
from fl.tasks import TASKS
from fl.training import one_thread, predict
from fl.weights import Weights, get_weights, save_weights, set_weights
from fl.wire import Job
from partitions.deal import CENTRAL, UNSEEN, open_partition
from partitions.splits import TEST
from server.checkpoints import Progress, load_progress
from server.rounds import (
    Federation,
    Listener,
    final_measures,
    roll_call,
    run_rounds,
    write_history,
)
from server.strategies import STRATEGIES, remember

Finished = Callable[[dict[str, Any], Progress], None]


class Silent:
    """A listener that shows nothing."""

    def training(self, strategy: str, rounds: int, sites: object) -> None: ...

    def site(self, round_number: int, site: str, doing: str, note: str) -> None: ...

    def round(self, row: Mapping[str, Any]) -> None: ...


def server_app(listener: Listener, finished: Finished | None = None) -> ServerApp:
    """A ServerApp that reports to `listener` and hands its summary to `finished`.

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
        federation = roll_call(grid, job, listener)
        progress = train(federation)
        summary = summarise(federation, progress)
        if finished is not None:
            finished(summary, progress)

    return made


app = server_app(Silent())


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


def train(federation: Federation) -> Progress:
    """All rounds, from the last checkpoint if there is one; writes both sets of weights."""
    job = federation.job
    progress = load_progress(federation.folder / "checkpoint" / job.strategy)
    if progress is None:
        start = initial_weights(job)
        progress = Progress(weights=start, best_weights=start, control=first_control(job))
    strategy = STRATEGIES[job.config.strategy].make(job.config)
    remember(strategy, progress.memory)
    progress = run_rounds(federation, strategy, progress)
    for kind, weights in (("best", progress.best_weights), ("last", progress.weights)):
        path = federation.folder / "weights" / f"{job.strategy}-{kind}.safetensors"
        facts = {"model": job.config.model, "task": job.config.task, "strategy": job.strategy}
        save_weights(path, weights, facts)
    return progress


def summarise(federation: Federation, progress: Progress) -> dict[str, Any]:
    """The best round on test: each site by itself, the central and the unseen records here.

    Writes predictions.csv of this training from the parts that sites wrote where they run.
    """
    job, task = federation.job, federation.task
    sites = final_measures(federation, progress)
    held = held_by_server(job)
    one_thread()
    network = build_network(job.config.model, task)
    set_weights(network, progress.best_weights)
    groups: dict[str, Any] = {CENTRAL: None, UNSEEN: None}
    text = ""
    for name, cohort in held.items():
        p = predict(network, cohort, device=job.config.device)
        groups[name] = evaluate_group(cohort, p, progress.thresholds, job.config.seed)
        if name == CENTRAL:
            groups["central_by_source"] = {
                str(source): evaluate_group(
                    cohort.take(rows := np.flatnonzero(cohort.sources == source)),
                    p[rows],
                    progress.thresholds,
                    job.config.seed,
                )
                for source in np.unique(cohort.sources)
            }
        text += predictions_text(cohort, p, job.strategy, name, TEST)
    parts = federation.folder / "checkpoint" / "sites"
    for site, report in sites.items():
        if report and not job.deployed:  # a hospital keeps its predictions
            text += (parts / site / f"predictions-{job.strategy}.csv").read_text()
    header = ",".join(predictions_header(task)) + "\n"
    write_predictions(federation.folder / "predictions.csv", header + text)
    write_history(federation.folder, [progress])
    return (
        groups
        | {"sites": sites, "thresholds": progress.thresholds, "best_round": progress.best_round}
        | {"rounds": progress.round, "gradient_steps": progress.steps}
        | across_sites(sites)
    )


def across_sites(sites: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Worst site, mean and spread of the sites whose macro-F1 can be measured."""
    f1 = {s: r["macro_f1"]["value"] for s, r in sites.items() if r}
    known = {s: v for s, v in f1.items() if v is not None}
    if not known:
        return {"worst_site": None, "site_mean": None, "spread": None}
    worst = min(known, key=lambda site: (known[site], site))
    values = np.array(list(known.values()))
    aurocs = [r["macro_auroc"]["value"] for r in sites.values() if r]
    return {
        "worst_site": {"site": worst, "macro_f1": known[worst]},
        "site_mean": {"macro_f1": float(values.mean()), "macro_auroc": mean_of(aurocs)},
        "spread": {
            "macro_f1_sd": float(values.std()),
            "macro_f1_range": float(values.max() - values.min()),
        },
    }


def held_by_server(job: Job) -> dict[str, Cohort]:
    """Test records of no site, by group."""
    if not job.shards:  # a coordinator that has no recordings of its own
        return {}
    task, folder = TASKS[job.config.task], Path(job.workspace)
    cohort, partition = open_partition(folder / "partition.csv", task, job.shards)
    groups = {name: partition.rows(name, TEST) for name in (CENTRAL, UNSEEN)}
    return {name: cohort.take(rows) for name, rows in groups.items() if len(rows)}
