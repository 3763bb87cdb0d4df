"""Heartbeats as pictures (Jun et al. 2018, arXiv:1804.06812): random beats beside patients apart.

    python -m benchmarks.studies.beat_pictures --data-dir DATA --choose
    python -m benchmarks.studies.beat_pictures --data-dir DATA [--only random] [--runs RUN]

One network is trained on all training beats of MIT-BIH, twice: with the random split of the
literature, 80% of the beats for training, 10% for validation and 10% for test, in which beats of
the same patient are on every side; and with patients apart, DS1 and the paced records 102 and 107
against DS2, 104 and 217. `--runs` adds what a run of the simulation answers for the same test
patients, e.g. of

    python run_sim.py --task beat7 --model cnn2d --clients 8 --compare fedavg --name beat7

`--choose` compares learning rates within the training patients and never tests the others. Finished
trainings are stored in --json. The table is written to docs/results.md between `<!-- beat7 -->` and
`<!-- /beat7 -->`, the confusion matrices to --figure.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.studies.beat_pictures.tables import accuracy, figure, macro_f1, table
from benchmarks.studies.beat_pictures.trainings import (
    Recipe,
    chosen_by,
    confusion,
    mitdb_beats,
    patient_split,
    random_split,
    result_of,
)
from fl.data.example_cache import default_cache_dir
from fl.ecg.tasks import BEAT7
from fl.evaluation.predictions import read_predictions
from fl.models import MODELS
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, exit_code
from partitions.partition import CENTRAL

SEED = 0
PASSES = 6  # of random beats: about half an hour on one quiet core
LR = BEAT7.lr
RATES = (1e-3, 2e-3, 4e-3)
CHOOSING_PASSES, CHOOSING_BEATS = 4, 200
RANDOM, APART = "random beats (leaks)", "patients apart"


def main(arguments: list[str] | None = None) -> int:
    """Run the trainings that are not stored yet, and write table and figure: the exit code."""
    options = _parsed(arguments)
    return exit_code(
        "benchmarks.studies.beat_pictures", lambda: run(options), "stopped; results are kept"
    )


def run(options: argparse.Namespace) -> int:
    """`main` with its options."""
    cohort = mitdb_beats(options.data_dir, options.cache_dir)
    names = "/".join(sorted(cohort.names.tolist())) + f"/{BEAT7.preprocessing}"
    stamp = {
        "settings": hashlib.sha256(names.encode()).hexdigest()[:16],
        "machine": f"{machine_description('cpu')}, one process",
        "torch": torch.__version__,
    }
    file = StoredResults(options.json, stamp)
    if options.choose:
        file.expect(f"choose/{rate:g}" for rate in RATES)
        for rate in RATES:
            recipe = Recipe(
                model=options.model,
                passes=CHOOSING_PASSES,
                lr=rate,
                per_recording=CHOOSING_BEATS,
            )
            _get_or_make(file, f"choose/{rate:g}", recipe, lambda r=recipe: _choose(cohort, r))
            found = np.array(file.content["results"][f"choose/{rate:g}"]["confusion"])
            print(
                f"rate {rate:g}: accuracy {accuracy(found):.4f}, macro-F1 {macro_f1(found):.3f}",
                flush=True,
            )
        return 0
    recipe = Recipe(model=options.model, passes=options.passes, lr=options.lr)
    splits = {RANDOM: partial(random_split, cohort, SEED), APART: partial(patient_split, cohort)}
    titles = [title for title in splits if options.only in ("", title.split()[0])]
    file.expect(f"{title}, pooled" for title in titles)
    for title, split in splits.items():
        if title in titles:
            _get_or_make(
                file,
                f"{title}, pooled",
                recipe,
                lambda s=split: result_of(cohort, s(), recipe, SEED),
            )
    if options.runs is not None:
        for strategy, result in _of_run(options.runs).items():
            file.content["results"][f"{APART}, {strategy} of the simulation"] = result
    file.write()
    _write(file.content, options)
    return 0


def _choose(cohort: Any, recipe: Recipe) -> dict[str, Any]:
    return {"confusion": chosen_by(cohort, recipe, SEED)}


def _get_or_make(
    file: StoredResults, name: str, recipe: Recipe, make: Callable[[], dict[str, Any]]
) -> None:
    """Make a result unless it is stored; one of another recipe is replaced."""
    results = file.content["results"]
    if name in results and results[name]["recipe"] != asdict(recipe):
        del results[name]
    file.get_or_make(name, lambda: {"recipe": asdict(recipe), **make()})


def _of_run(folder: Path) -> dict[str, dict[str, Any]]:
    """What each training of a run that has one model answers for the central test patients."""
    try:
        facts = json.loads((folder / "run.json").read_text())
    except OSError:
        raise ConfigError(
            f"--runs {folder}: no run.json there. Name a run directory of run_sim.py."
        ) from None
    task = facts["config"]["task"]
    if task != BEAT7.name:
        raise ConfigError(f"--runs {folder}: the run is of the task {task!r}, not {BEAT7.name!r}.")
    every = read_predictions(folder / "predictions.csv", BEAT7.classes)
    found = {}
    for strategy in dict.fromkeys(every.strategy.tolist()):
        rows = every.of(strategy, CENTRAL)
        if strategy.startswith("local") or not len(rows):
            continue
        counts = [len(set(rows.patient[column == 1].tolist())) for column in rows.labels.T]
        found[strategy] = {
            "confusion": confusion(
                rows.labels.argmax(axis=1), rows.decided.argmax(axis=1)
            ).tolist(),
            "patients": counts,
            # Without the folder of one machine.
            "recipe": {k: v for k, v in facts["config"].items() if k != "data_dir"},
        }
    return found


def _write(content: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the table and write it and the figure."""
    results = {k: v for k, v in content["results"].items() if not k.startswith("choose/")}
    lines = [*table(results), ""]
    for title, result in results.items():
        if "seconds" in result:
            recipe = result["recipe"]
            lines.append(
                f"- {title}: {recipe['model']}, {recipe['passes']} passes over "
                f"{result['trained_on']:,} beats of which each takes a quarter of N, peak rate "
                f"{recipe['lr']:g}, {result['seconds'] / 60:.0f} minutes."
            )
    lines += [
        "- Random beats leak: beats of the same patient are in training and in test. Only patients "
        "apart says what a new patient can expect. Where a class has few patients, its figure says "
        "little.",
        "",
        f"Confusion matrices: [{options.figure.name}]({options.figure.name}). Made by "
        f"`{command('studies.beat_pictures')}` on {content['machine']}.",
    ]
    print("\n".join(lines))
    write_atomically(options.figure, figure(results))
    put_between_marks(options.results, "beat7", "\n".join(lines))


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--choose", action="store_true", help="rates, within training patients")
    parser.add_argument("--only", choices=("", "random", "patients"), default="")
    parser.add_argument(
        "--model", choices=[m for m in MODELS if m.startswith("cnn2d")], default="cnn2d"
    )
    parser.add_argument("--passes", type=int, default=PASSES)
    parser.add_argument("--lr", type=float, default=LR)
    parser.add_argument("--runs", type=Path, help="a run directory of --task beat7")
    parser.add_argument("--json", type=Path, default=Path("docs/results-beat7.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/beat7-confusion.svg"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args(arguments)
    if options.passes < 1:
        parser.error(f"--passes is {options.passes}. Accepted: 1 or more.")
    return options


if __name__ == "__main__":
    sys.exit(main())
