"""The main job compared with its own first round and with local training at every site.

    python -m benchmarks.studies.main_job --data-dir DATA [--seeds 0,1,2] [flags of run_sim.py]

Runs `run_sim.py` with the given flags, then local training at each site as `--compare` does, and
measures all models on the same central test records with the same rule for thresholds. The time
is that of `run_sim.py` only. Prints a table, and writes the results and the machine to --json.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

import run_sim
from benchmarks.common.countdown import Countdown
from benchmarks.common.process_watch import ProcessWatch
from clients.app import app as client_app
from clients.local_evaluation import evaluate_site
from clients.local_training import network_for
from clients.simulated_sites import open_sites
from fl.config.run_config import LOCAL
from fl.ecg.tasks import TASKS
from fl.evaluation.decisions.decision_rule import answer, choose_rule
from fl.evaluation.decisions.score_histograms import ScoreHistograms, empty_histograms
from fl.evaluation.group_evaluation import GroupMeasures, evaluate_sources
from fl.messages.job import Job
from fl.runs.history_tables import RoundRow
from fl.runs.results import read_summary
from fl.training.loop import predict
from fl.training.state_dict import Weights, load_weights, set_weights
from partitions.partition import CENTRAL
from partitions.splits import VAL
from server.app import SilentListener, initial_weights, server_app
from server.baselines.baseline_summary import train_baselines
from server.engines.simulation import simulate
from server.rounds.final_evaluation import server_cohorts
from server.rounds.site_requests import discover_sites


def central(job: Job, weights: Weights, val: dict[str, ScoreHistograms]) -> GroupMeasures:
    """Central test results of weights, with thresholds from the given validation histograms."""
    task = TASKS[job.config.task]
    network = network_for(job.config.model, job.config.task, job.config.freeze)
    set_weights(network, weights)
    cohort = server_cohorts(job)[CENTRAL]
    p = predict(network, cohort)
    p, decided = answer(choose_rule(val, task), p, cohort.sources, task.classes)
    return evaluate_sources(cohort, p, decided, job.config.seed)[0]


def validation(job: Job, weights: Weights, sites: list[str]) -> dict[str, ScoreHistograms]:
    """Validation histograms by source, over the given sites."""
    opened = open_sites(job.workspace, job.shards, job.config.task)
    by_source: dict[str, ScoreHistograms] = {}
    for name in sites:
        result = evaluate_site(opened[name], job, weights, VAL, None, job.config.rounds)
        for source, validation in result.by_source.items():
            total = by_source.get(source, empty_histograms(len(validation.scores.positive)))
            by_source[source] = total + validation.scores
    return by_source


def in_new_folder(job: Job, folder: Path) -> Job:
    """The same job on the same partition in a new folder."""
    folder.mkdir()
    shutil.copy(Path(job.workspace) / "partition.csv", folder)
    return job.model_copy(update={"workspace": str(folder.resolve())})


def local_training(job: Job, n_sites: int, folder: Path) -> dict[str, Any]:
    """Central test results of each site's own model, with thresholds from its own validation."""
    app, results = ServerApp(), {}
    job = in_new_folder(job, folder)

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        federation = discover_sites(grid, job, SilentListener())
        (training,) = train_baselines(federation, initial_weights(job), names=(LOCAL,))
        results.update(training.summary.central_by_site)

    simulate(app, client_app, job, n_sites)
    return results


class FirstRoundOver(Exception):
    """Ends a training after its first round."""


class OneRound(SilentListener):
    """Ends a training after its first round; the learning rates are those of the whole run."""

    def round(self, row: RoundRow) -> None:
        raise FirstRoundOver


def first_round(job: Job, sites: list[str], folder: Path) -> GroupMeasures:
    """Central test results after one round, which is trained again in another folder."""
    job = in_new_folder(job, folder)
    with contextlib.suppress(FirstRoundOver):
        simulate(server_app(OneRound()), client_app, job, len(sites))
    weights = load_weights(folder / "checkpoint" / job.strategy / "000001" / "last.safetensors")
    return central(job, weights, validation(job, weights, sites))


def job_of(folder: Path, strategy: str) -> Job:
    """The job of a finished run."""
    run = json.loads((folder / "run.json").read_text())
    return Job(
        config=run["config"],
        strategy=strategy,
        workspace=str(folder.resolve()),
        shards=tuple(entry["cache"] for entry in run["data"]),
    )


def one_seed(seed: int, flags: list[str], out: Path) -> dict[str, Any]:
    """The results of one seed."""
    flags = [*flags, "--seed", str(seed), "--out", str(out)]
    began = time.monotonic()
    with ProcessWatch(os.getpid()) as memory:
        if run_sim.main([*flags, "--name", f"main-{seed}"]) != 0:
            sys.exit(1)
    seconds = time.monotonic() - began
    folder = out / f"main-{seed}"
    (strategy, result), *_ = read_summary(folder).strategies.items()
    job = job_of(folder, strategy)
    sites = sorted(result.sites)
    first = first_round(job, sites, out / f"first-{seed}")
    return {
        "seed": seed,
        "seconds": seconds,
        "peak_bytes": memory.peak,
        "federated": result.central,
        "by_source": result.central_by_source,
        "first_round": first,
        "local": local_training(job, len(sites), out / f"local-{seed}"),
    }


def figures(measures: GroupMeasures) -> tuple[float, ...]:
    """Macro-F1 and macro-AUROC of a group; nan where no class can be measured."""
    values = (measures.macro_f1.value, measures.macro_auroc.value)
    return tuple(float("nan") if value is None else value for value in values)


def table(results: list[dict[str, Any]]) -> str:
    """One line per training: the mean over the seeds, and the range."""
    rows = {
        "after round 1": [figures(r["first_round"]) for r in results],
        "local training, mean of sites": [
            tuple(np.mean([figures(s) for s in r["local"].values()], axis=0)) for r in results
        ],
        "local training, best site": [
            max(figures(s) for s in r["local"].values()) for r in results
        ],
        "federated": [figures(r["federated"]) for r in results],
    }
    for source in results[0]["by_source"]:
        rows[f"federated, {source}"] = [figures(r["by_source"][source]) for r in results]
    lines = ["| central test | macro-F1 | macro-AUROC |", "| --- | --- | --- |"]
    for name, values in rows.items():
        cells = []
        for column in np.array(values).T:
            spread = f" ({column.min():.3f} to {column.max():.3f})" if len(column) > 1 else ""
            cells.append(f"{column.mean():.3f}{spread}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    seconds = ", ".join(f"{r['seconds']:.0f} s" for r in results)
    memory = ", ".join(f"{r['peak_bytes'] / 2**30:.2f} GiB" for r in results)
    return "\n".join([*lines, "", f"Time: {seconds}. Peak memory of all processes: {memory}."])


def main() -> None:
    """Run all seeds; print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--json", type=Path)
    options, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        seeds = [int(s) for s in options.seeds.split(",")]
        countdown, results = Countdown(len(seeds)), []
        for seed in seeds:
            results.append(one_seed(seed, flags, Path(folder)))
            countdown.done(f"seed {seed}")
    print(table(results))
    if options.json:
        machine = {"system": platform.platform(), "cores": psutil.cpu_count()}
        content = {"command": sys.argv, "machine": machine, "results": results}
        options.json.write_text(json.dumps(content, indent=1, default=GroupMeasures.to_json))


if __name__ == "__main__":
    main()
