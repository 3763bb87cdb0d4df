"""Settings that make a federation learn: one changed at a time, measured on validation records.

    python -m benchmarks.studies.federated --data-dir DATA [--seeds 0,1] [--only NAMES]

Every row is one run of run_sim.py with 8 sites, the same partition and the same number of passes
over the records (rounds x local epochs), measured on all sites' validation records at its best
round. Some rows are no federation: one model trained on all sites' training records, and a model of
each site trained on its own, whose figures are the means over these models. Each kind of training
has a row with half the learning rate and one with twice as much, so that none is judged at a rate
that only suits another. Test records are not used. Finished runs are stored in --json, and a second
call continues from there.
"""

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from benchmarks.common.countdown import Countdown
from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from clients.app import app as client_app
from fl.config.config_file import load_config
from fl.config.run_config import LOCAL, POOLED
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir
from fl.ecg.tasks import RHYTHM_SIGNAL, TASKS
from fl.evaluation.decisions.score_histograms import count_scores, histogram_aurocs
from fl.evaluation.decisions.thresholds import MIN_POSITIVES
from fl.evaluation.metrics import mean_of
from fl.messages.job import Job
from fl.models import build_network
from fl.training.loop import predict
from fl.training.losses import example_losses
from fl.training.state_dict import load_weights, set_weights
from partitions.partition import open_partition
from partitions.splits import VAL
from server.app import SilentListener, initial_weights
from server.baselines.baseline_summary import train_baselines
from server.engines.simulation import simulate
from server.rounds.site_requests import discover_sites

POOLED_ROW = "pooled (no federation)"
LOCAL_ROW = "local (each site alone)"
ONE_EPOCH = "one local epoch, more rounds"
TWICE_THE_EPOCHS = "twice the local epochs, half the rounds"
HALF_RATE, DOUBLE_RATE = {"lr": 1e-3}, {"lr": 4e-3}  # of the default, .002
# Rounds x local epochs, the passes over the records, are the same in every row.
STUDY: dict[str, dict[str, Any]] = {
    POOLED_ROW: {},
    f"{POOLED_ROW}, learning rate .001": HALF_RATE,
    f"{POOLED_ROW}, learning rate .004": DOUBLE_RATE,
    LOCAL_ROW: {},
    f"{LOCAL_ROW}, learning rate .001": HALF_RATE,
    f"{LOCAL_ROW}, learning rate .004": DOUBLE_RATE,
    "as shipped": {},
    ONE_EPOCH: {},
    TWICE_THE_EPOCHS: {},
    "batch of 4": {"batch_size": 4},
    "batch of 16": {"batch_size": 16},
    "learning rate .001": HALF_RATE,
    "learning rate .004": DOUBLE_RATE,
    "schedule over each round": {"schedule": "round"},
    "constant learning rate": {"schedule": "constant"},
    "optimizer state reset each round": {"optimizer_state": "fresh"},
    "sites weighted by the root of records": {"weighting": "root"},
    "sites weighted equally": {"weighting": "even"},
    "plain averaging of heads and leads": {"averaging": "plain"},
    "server momentum (fedavgm)": {"strategy": "fedavgm", "server_momentum": 0.5},
    "server Adam (fedadam)": {"strategy": "fedadam", "server_lr": 0.003},
    "sites weighted by records": {"weighting": "records"},
    "every patient alike in the loss": {"loss_weights": "patients"},
    "FedProx, mu 1": {"strategy": "fedprox", "mu": 1.0},
    "FedProx, mu .1 in the loss": {"strategy": "fedprox", "mu": 0.1, "proximal": "loss"},
    "SCAFFOLD": {"strategy": "scaffold"},
    "own normalisation layers (fedbn)": {"strategy": "fedbn"},
    "mixup": {"augment": ",".join((*RHYTHM_SIGNAL.augment, "mixup"))},
}


@dataclass(frozen=True)
class Case:
    """One run of the study."""

    name: str
    settings: Mapping[str, Any]
    seed: int
    data: str
    cache: str


def settings_of(name: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a row: the base with one setting changed and the same number of passes."""
    rounds, epochs = base["rounds"], base["local_epochs"]
    if name == ONE_EPOCH:
        return {**base, "rounds": rounds * epochs, "local_epochs": 1}
    if name == TWICE_THE_EPOCHS:
        return {**base, "rounds": max(1, rounds // 2), "local_epochs": 2 * epochs}
    return {**base, **STUDY[name]}


def baseline_of(name: str) -> str:
    """`pooled` or `local` for a row that is no federation; else nothing."""
    baselines = {POOLED_ROW: POOLED, LOCAL_ROW: LOCAL}
    return next((b for row, b in baselines.items() if name.startswith(row)), "")


def run(case: Case) -> dict[str, Any]:
    """Make the run in a folder of its own, and measure its best round on validation records."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        baseline = baseline_of(case.name)
        settings = dict(case.settings) | {"seed": case.seed, "rhythm_features": "none"}
        # A baseline needs the run's partition only, so one round is enough.
        flags = _flags(settings | ({"rounds": 1, "local_epochs": 1} if baseline else {}))
        _quietly(case, flags, folder)
        job = job_of(Path(folder) / "run")
        models = [Path(folder) / "run" / "weights" / f"{job.strategy}-best.safetensors"]
        if baseline:
            config = load_config(job.config.model_dump() | settings)
            models = train_baseline(job.model_copy(update={"config": config}), baseline)
        return measured(job, models) | {"seconds": time.monotonic() - began}


def _flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as flags of a command line."""
    return [w for k, v in settings.items() for w in (f"--{k.replace('_', '-')}", str(v))]


def _quietly(case: Case, flags: Sequence[str], folder: str) -> None:
    """One run of run_sim.py in this process; `RuntimeError` with its output if it fails."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import run_sim

    output, words = io.StringIO(), ["--engine", "local", "--quiet", "--workers", "1"]
    words += ["--data-dir", case.data, "--cache-dir", case.cache, "--out", folder, "--name", "run"]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = run_sim.main([*flags, *words])
    if code != 0:
        raise RuntimeError(f"{case.name}: {output.getvalue()[-500:]}")


def job_of(folder: Path) -> Job:
    """The job of a finished run."""
    run = json.loads((folder / "run.json").read_text())
    return Job(
        config=run["config"],
        strategy=run["config"]["strategy"],
        workspace=str(folder),
        shards=tuple(entry["cache"] for entry in run["data"]),
    )


def all_sites(job: Job, split: str) -> Cohort:
    """One split of all sites together."""
    path = Path(job.workspace) / "partition.csv"
    cohort, partition = open_partition(path, TASKS[job.config.task], job.shards)
    rows = [partition.rows(site, split) for site in partition.sites]
    return cohort.take(np.sort(np.concatenate(rows)))


def train_baseline(job: Job, name: str) -> list[Path]:
    """Train one model on all sites' training records, or each site's own, as `--compare` does.

    Returns the weights of each model's best round, as files in the run directory.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        federation = discover_sites(grid, job, SilentListener())
        train_baselines(federation, initial_weights(job), names=(name,))

    simulate(app, client_app, job, job.expected_sites)
    return sorted((Path(job.workspace) / "weights").glob(f"{name}*-best.safetensors"))


def measured(job: Job, models: Sequence[Path]) -> dict[str, Any]:
    """Results on the validation records of all sites: loss, and macro-AUROC by source.

    Each patient counts once. Of several models each figure is the mean over them.
    """
    cohort = all_sites(job, VAL)
    found = [_measured_model(job, cohort, weights) for weights in models]
    sources = found[0]["sources"]
    return {
        "loss": mean_of([one["loss"] for one in found]),
        "patients": found[0]["patients"],
        "sources": {name: mean_of([one["sources"][name] for one in found]) for name in sources},
    }


def _measured_model(job: Job, cohort: Cohort, weights: Path) -> dict[str, Any]:
    task = TASKS[job.config.task]
    network = build_network(job.config.model, task)
    set_weights(network, load_weights(weights))
    p = predict(network, cohort)
    by_source, patients = {}, {}
    for source in np.unique(cohort.sources):
        rows = np.flatnonzero(cohort.sources == source)
        who = cohort.patients[rows]
        counts = count_scores(cohort.labels[rows], p[rows], who)
        aurocs = zip(histogram_aurocs(counts), counts.patients[:, 0], strict=True)
        by_source[str(source)] = mean_of([value for value, n in aurocs if n >= MIN_POSITIVES])
        patients[str(source)] = len(np.unique(who))
    who = np.unique(cohort.patients, return_inverse=True)[1]
    losses = np.bincount(who, example_losses(task, cohort.labels, p)) / np.bincount(who)
    return {"loss": float(losses.mean()), "sources": by_source, "patients": patients}


def table(content: Mapping[str, Any]) -> list[str]:
    """One line per row of the study: mean over the seeds, with the range if there are several."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for key, value in content["results"].items():
        by_name.setdefault(key.rsplit("/", 1)[0], []).append(value)
    sources = list(next(iter(by_name.values()))[0]["sources"])
    lines = [
        f"| changed | seeds | {' | '.join(sources)} | all, by patients | validation loss |",
        f"| --- | --- | {'--- | ' * len(sources)}--- | --- |",
    ]
    for name in sorted(by_name, key=list(STUDY).index):
        runs = by_name[name]
        means = [_by_patients(r) for r in runs]
        cells = [_cell([r["sources"][s] for r in runs]) for s in sources]
        cells += [_cell(means), _cell([r["loss"] for r in runs])]
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return lines


def _by_patients(run: Mapping[str, Any]) -> float | None:
    """The mean over the sources that can be measured, weighted by their patients."""
    known = {s: n for s, n in run["patients"].items() if run["sources"][s] is not None}
    if not known:
        return None
    return sum(run["sources"][s] * n for s, n in known.items()) / sum(known.values())


def _cell(given: Sequence[float | None]) -> str:
    values = [value for value in given if value is not None]
    if not values:
        return "n/a"
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def main() -> None:
    """Make the runs that are not stored yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default="", help="names of rows, separated by semicolons")
    parser.add_argument("--model", default=RHYTHM_SIGNAL.model)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--local-epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--json", type=Path, default=Path("docs/results-federated.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    chosen = [n.strip() for n in options.only.split(";") if n.strip()] or list(STUDY)
    base = {k: getattr(options, k) for k in ("model", "rounds", "local_epochs")}
    file = StoredResults(
        options.json,
        {
            "settings": base,
            "machine": machine_description("cpu"),
            "command": command("studies.federated"),
        },
    )
    wanted = {f"{n}/{s}": (n, int(s)) for s in options.seeds.split(",") for n in chosen}
    cases = {
        key: Case(
            name, settings_of(name, base), seed, str(options.data_dir), str(options.cache_dir)
        )
        for key, (name, seed) in wanted.items()
        if key not in file.content["results"]
    }
    countdown = Countdown(len(cases))
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(run, case): key for key, case in cases.items()}
        for done in as_completed(waiting):
            file.content["results"][waiting[done]] = done.result()
            file.write()
            countdown.done(f"{waiting[done]}: {done.result()}")
    text = table(file.content)
    print("\n".join(text))
    note = f"Made by `{command('studies.federated')}` on {file.content['machine']}."
    put_between_marks(options.results, "federated", "\n".join([*text, "", note]))


if __name__ == "__main__":
    main()
