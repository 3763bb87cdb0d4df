"""Heartbeats between patients: settings chosen on DS1 and SVDB, then one test on DS2.

    python -m benchmarks.studies.beat --data-dir DATA --choose [--seeds 0,1,2] [--only ROWS]
    python -m benchmarks.studies.beat --data-dir DATA [--seeds 10,11,12,13,14] [--runs RUN]

`--choose` compares settings by folds of the patients of DS1 and SVDB, and by training on one of the
two databases and testing on the other. It never opens a file of DS2. Without it, the recipe that is
proposed in recipes.py is trained and tested on DS2; with `--runs`, so are the saved models of
`python run_sim.py --task beat --compare fedavg --seeds 10,11,12`. Finished trainings are stored in
--json, and a second call continues from there. The tables are written to docs/results.md, between
`<!-- beat -->` and `<!-- /beat -->`.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.results_store import (
    StoredResults,
    machine_description,
    put_between_marks,
)
from benchmarks.studies.beat import recipes
from benchmarks.studies.beat.choose import Choosing
from benchmarks.studies.beat.choose_tables import choose_tables
from benchmarks.studies.beat.ds2_tables import ds2_tables
from benchmarks.studies.beat.on_ds2 import PROTOCOLS, OnDS2
from benchmarks.studies.beat.recipes import LEAVE_ONE_OUT, RECIPES, BeatRecipe
from benchmarks.studies.beat.recordings import CHOOSING, SOURCES, Recordings, left_out
from benchmarks.studies.beat.saved_runs import evaluate_weights, saved_weights
from benchmarks.studies.beat.splits import FOLDS, MIN_VALIDATION, VALIDATION_SHARE
from fl.data.content_digest import content_digest
from fl.data.example_cache import default_cache_dir
from fl.ecg.tasks import BEAT
from fl.models.early_decision import EARLY_WEIGHT, FIBRILLATION_AT, FIBRILLATION_SLOPE
from fl.util.errors import ConfigError, exit_code, require_known

CHOOSING_SEEDS, TEST_SEEDS = "0,1,2", "10,11,12,13,14"


def settings_of(data: str) -> dict[str, Any]:
    """The settings that all results depend on; `data` is the digest of DS1 and SVDB.

    Each result has its own recipe's digest beside it, so a change of one row leaves the others.
    """
    return {
        "task": BEAT.preprocessing,
        "lr": recipes.LR,
        "batch_size": recipes.BATCH_SIZE,
        "weight_decay": recipes.WEIGHT_DECAY,
        "early_weight": EARLY_WEIGHT,
        "fibrillation": (FIBRILLATION_SLOPE, FIBRILLATION_AT),
        "folds": FOLDS,
        "validation": (VALIDATION_SHARE, MIN_VALIDATION),
        "data": data,
    }


def digest_of(settings: dict[str, Any]) -> str:
    """A short name of the settings: results of other settings are not used."""
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def data_digest(recordings: Recordings, names: tuple[str, ...]) -> str:
    """A digest of the files of some of SOURCES; other files are not opened."""
    each = [content_digest(SOURCES[n], recordings.data, recordings.cache) for n in names]
    return hashlib.sha256("/".join(each).encode()).hexdigest()


def stamp(recordings: Recordings, device: str) -> dict[str, Any]:
    """The settings that the results depend on, and the machine that makes them."""
    settings = settings_of(data_digest(recordings, CHOOSING))
    return {
        "settings": digest_of(settings),
        "details": settings,
        "machine": machine_description(device),
        "torch": torch.__version__,
    }


def get_or_make(
    file: StoredResults, name: str, of: str, make: Callable[[], dict[str, Any]]
) -> None:
    """Make a result unless it is stored; one that is `of` another recipe or model is replaced."""
    results = file.content["results"]
    if name in results and results[name]["of"] != of:
        del results[name]
    file.get_or_make(name, lambda: {"of": of, **make()})


def choose(file: StoredResults, choosing: Choosing, options: argparse.Namespace) -> None:
    """The comparisons on DS1 and SVDB."""
    file.content["results"]["left out/choose"] = left_out(choosing.cohort)
    rows = {name: shortened(RECIPES[name], options.epochs) for name in options.only or RECIPES}
    alone = [name for name in LEAVE_ONE_OUT if name in rows]
    cells = [f"choose/{name}" for name in rows] + [f"leave one out/{name}" for name in alone]
    file.expect(["fibrillation", *(f"{cell}/{seed}" for cell in cells for seed in options.seeds)])
    get_or_make(file, "fibrillation", BEAT.preprocessing, choosing.fibrillation)
    fitted = file.content["results"]["fibrillation"]
    print(f"fibrillation: slope {fitted['slope']:.2f}, at {fitted['at']:.2f}", flush=True)
    for seed in options.seeds:
        for name, recipe in rows.items():
            get_or_make(
                file,
                f"choose/{name}/{seed}",
                recipe.digest,
                partial(choosing.across_folds, recipe, seed),
            )
        for name in alone:
            get_or_make(
                file,
                f"leave one out/{name}/{seed}",
                rows[name].digest,
                partial(choosing.leave_one_out, rows[name], seed),
            )


def shortened(recipe: BeatRecipe, epochs: int) -> BeatRecipe:
    """The recipe with other epochs, for a trial; 0 leaves it as it is."""
    return replace(recipe, epochs=epochs) if epochs else recipe


def open_ds2(file: StoredResults, ds2: OnDS2, options: argparse.Namespace) -> None:
    """The trainings that are tested on DS2, and the saved models of --runs."""
    used = ds2.recordings.examples((*CHOOSING, "ds2"))
    file.content["results"]["left out/ds2"] = left_out(used)
    data = data_digest(ds2.recordings, ("ds2",))
    file.expect(f"ds2/{name}/{seed}" for name in PROTOCOLS for seed in options.seeds)
    for seed in options.seeds:
        for name, recipe in PROTOCOLS.items():
            get_or_make(
                file,
                f"ds2/{name}/{seed}",
                f"{recipe.digest}/{data}",
                partial(ds2.run, name, seed),
            )
    if options.runs is None:
        return
    models = saved_weights(options.runs)
    results = file.content["results"]
    for stale in {k for k in results if k.startswith("runs/")} - {m.name for m in models}:
        del results[stale]  # of another run directory
    for model in models:
        get_or_make(
            file,
            model.name,
            f"{model.digest}/{data}",
            partial(evaluate_weights, model, ds2),
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the trainings that are not stored yet, and write the tables: the exit code."""
    options = parsed(arguments)
    return exit_code("benchmarks.studies.beat", lambda: run(options), "stopped; results are kept")


def run(options: argparse.Namespace) -> int:
    """`main` with its options."""
    recordings = Recordings(data=options.data_dir, cache=options.cache_dir, workers=options.workers)
    recordings.cache.mkdir(parents=True, exist_ok=True)
    file = StoredResults(options.json, stamp(recordings, options.device))
    if options.choose:
        choose(file, Choosing(recordings, options.device), options)
    else:
        open_ds2(file, OnDS2(recordings, options.device), options)
    file.write()
    on_ds2, chosen = ds2_tables(file.content), choose_tables(file.content)
    print("\n".join(chosen if options.choose else on_ds2))
    put_between_marks(options.results, "beat", "\n".join([*on_ds2, *chosen]))
    return 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command line, with lists of seeds and rows; exits where one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--choose", action="store_true", help="on DS1 and SVDB, without DS2")
    parser.add_argument("--seeds", default="", help=f"{CHOOSING_SEEDS}, or {TEST_SEEDS} on DS2")
    parser.add_argument("--only", default="", help="rows of --choose, separated by commas")
    parser.add_argument("--epochs", type=int, default=0, help="of --choose, for a short trial")
    parser.add_argument("--runs", type=Path, help="a run whose saved models are tested on DS2")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes for preprocessing")
    parser.add_argument("--json", type=Path, default=Path("docs/results-beat.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args(arguments)
    if not options.choose and (options.only or options.epochs):
        parser.error("--only and --epochs go with --choose: what is tested on DS2 is frozen.")
    if options.choose and options.runs is not None:
        parser.error("--runs opens DS2 and --choose never does. Give one of the two.")
    seeds = options.seeds or (CHOOSING_SEEDS if options.choose else TEST_SEEDS)
    try:
        options.seeds = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        parser.error(f"--seeds is {seeds!r}. Whole numbers with commas between them are accepted.")
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    try:
        for name in options.only:
            require_known(name, RECIPES, "--only")
    except ConfigError as error:
        parser.error(str(error))
    return options


if __name__ == "__main__":
    sys.exit(main())
