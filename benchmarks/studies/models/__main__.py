"""Every network on every task: local, pooled, FedAvg and FedProx at equal passes.

    python -m benchmarks.studies.models --data-dir DATA --work FOLDER [--tasks rhythm,beat]

For each task and network `run_sim.py` compares local, pooled and federated training with the same
passes (benchmarks/studies/models/settings.py). Measured on the central test records, whose patients
no site holds. Beats are also split at random, as much of the literature does: that figure leaks.
Finished runs in --work are not made again. Writes the tables between marks into --results, and a
figure of confusion matrices for each task beside it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.studies.models.confusion import confusion_figure
from benchmarks.studies.models.epoch_time import seconds_per_example
from benchmarks.studies.models.random_split import measure_random_split
from benchmarks.studies.models.settings import SETTINGS, STRATEGIES, flags, networks_of
from benchmarks.studies.models.tables import measures_of, table
from fl.config.run_config import POOLED
from fl.data.cohort import Cohort
from fl.ecg.tasks import TASKS
from fl.evaluation.predictions import Predictions, read_predictions
from fl.models import build_network, parameters
from fl.runs.results import RunSummary, read_summary
from fl.training.device import one_thread
from fl.util.atomic_io import write_atomically
from partitions.partition import CENTRAL

ROOT = Path(__file__).parents[3]
DRAWN = (POOLED, STRATEGIES[0])  # trainings whose confusion matrices are drawn


def finished_run(work: Path, task: str, model: str, seed: int, data_dir: str) -> Path:
    """The run directory of one network; the run is made if it is not complete."""
    folder = work / f"{task}-{model}-{seed}"
    if _status(folder) == "completed":
        return folder
    words = ["--resume", str(folder)] if _status(folder) else []
    if not words:
        words = [*flags(task, model, seed), "--data-dir", data_dir]
        words += ["--out", str(work), "--name", folder.name]
    done = subprocess.run(
        [sys.executable, "run_sim.py", "--quiet", "--no-pages", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{folder.name}: run_sim.py ended with {done.returncode}")
    return folder


def _status(folder: Path) -> str:
    path = folder / "run.json"
    return str(json.loads(path.read_text()).get("status", "")) if path.is_file() else ""


def central_predictions(folder: Path, summary: RunSummary) -> dict[str, Predictions]:
    """What the pooled and the federated models predicted for the central test records."""
    found = read_predictions(folder / "predictions.csv", summary.classes)
    return {name: found.of(name, CENTRAL) for name in (POOLED, *STRATEGIES)}


def measure(folder: Path, task_name: str, model: str, seed: int) -> dict[str, Any]:
    """All figures of one network, from its run and from training it once more for its time."""
    task, settings = TASKS[task_name], SETTINGS[task_name]
    run = json.loads((folder / "run.json").read_text())
    summary = read_summary(folder)
    predictions = central_predictions(folder, summary)
    cohort = Cohort.open(task, [Path(entry["cache"]) for entry in run["data"]])
    pooled = summary.strategies[POOLED]
    examples = (pooled.gradient_steps or 0) * run["config"]["batch_size"] / settings.passes
    central = pooled.central
    return {
        "parameters": parameters(build_network(model, task)),
        "seconds_per_pass": seconds_per_example(cohort, model, seed) * examples,
        "trainings": measures_of(summary, predictions, task),
        "random_split": (
            measure_random_split(cohort, model, seed) if settings.random_split else None
        ),
        "n_test": central.n_records if central else 0,
        "n_patients": central.n_patients if central else 0,
        "macro_classes": list(central.macro_classes) if central else [],
    }


def draw(work: Path, task: str, seed: int, results: Path) -> list[str]:
    """The figures of a task's confusion matrices, and the lines that show them."""
    lines = []
    for training in DRAWN:
        found = {}
        for model in networks_of(task):
            folder = work / f"{task}-{model}-{seed}"
            if _status(folder) == "completed":
                found[model] = central_predictions(folder, read_summary(folder))[training]
        title = f"{task}, {training}: % of the test examples of each class, by predicted class"
        path = results.parent / f"results-models-{task}-{training}.svg"
        write_atomically(path, confusion_figure(found, TASKS[task].exclusive, title))
        lines += ["", f"![Confusion matrices: {task}, {training}]({path.name})"]
    if not TASKS[task].exclusive:
        lines += [
            "",
            "An example may show several classes and be given several: a row of a matrix need not "
            "sum to 100.",
        ]
    return lines


def study(task: str, options: argparse.Namespace) -> None:
    """All networks of one task; its table and figures are written after each network."""
    machine = machine_description("cpu")
    settings = {"task": task, "seed": options.seed, **vars(SETTINGS[task])}
    stamp = {"settings": settings, "machine": machine}
    stored = StoredResults(options.json.with_name(f"{options.json.stem}-{task}.json"), stamp)
    results: dict[str, Mapping[str, Any]] = {}
    chosen = options.models.split(",") if options.models else networks_of(task)
    models = [model for model in networks_of(task) if model in chosen]
    stored.expect(models)
    for model in models:
        folder = finished_run(options.work, task, model, options.seed, options.data_dir)
        made = stored.get_or_make(
            model,
            lambda folder=folder, model=model: measure(folder, task, model, options.seed),
        )
        results[model] = made
        lines = [
            f"`{command('studies.models')}`, {machine}; a pass takes so much processor time of one "
            "thread.",
            "",
            *table(task, results, options.seed),
            *draw(options.work, task, options.seed, options.results),
        ]
        put_between_marks(options.results, f"models-{task}", "\n".join(lines))


def main() -> None:
    """Run what is missing, and write tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--work", type=Path, required=True, help="where the run directories are")
    parser.add_argument("--tasks", default=",".join(SETTINGS))
    parser.add_argument("--models", default="", help="only these networks")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--json", type=Path, default=Path("docs/results-models.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.data_dir = str(Path(options.data_dir).resolve())
    one_thread()
    for task in options.tasks.split(","):
        study(task, options)


if __name__ == "__main__":
    main()
