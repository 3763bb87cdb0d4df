"""Time to a target: seconds until a federation reaches 95% of what pooled training can.

    python -m benchmarks.speed.target --data-dir DATA [--seeds 0,1,2] [--only NAMES]
        [flags of run_sim.py]

`as shipped` is `run_sim.py --clients 8` with its default settings. `quickstart` is FedAvg with the
settings of Flower's quickstart-pytorch (SGD with momentum 0.9 and no state kept between rounds, one
local epoch, batches of 32 over all of a site's examples, constant learning rate, plain averaging,
no augmentation), with the learning rate of today's quickstart, 0.1, and of its earlier versions,
0.01. The same in all rows: network, recordings, partition, the loss that leaves out classes a
source never annotated, random crops, workers, and validation at every site after every round
(the quickstart validates at half of the sites).

The targets are 95% of the validation macro-AUROC of one model trained on all sites' training
records as `--compare` trains it, and 95% of its skill, which is how far its macro-AUROC is above
the .5 of a coin. The macro-AUROC is measured by source on the validation records of all
sites and averaged over the sources, as in federated.py. Seconds are from the start of the command
to the end of the round, with the recordings preprocessed before. The weights of each round are
measured after the run has ended. Test records are not used. Finished trainings are stored in
--json, and a second call continues from there.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import run_sim
from benchmarks.common.plots import svg, tidy
from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.studies.federated import job_of, measured, train_baseline
from fl.config.config_file import load_config
from fl.config.run_config import POOLED
from fl.data.example_cache import default_cache_dir
from fl.util.atomic_io import write_atomically

ROOT = Path(__file__).resolve().parents[2]
SHARE = 0.95  # of pooled training
CHANCE = 0.5  # macro-AUROC of a coin
QUICKSTART = (
    *("--optimizer", "sgd", "--momentum", "0.9", "--weight-decay", "0", "--schedule", "constant"),
    *("--optimizer-state", "fresh", "--averaging", "plain", "--augment", "none"),
    *("--imbalance", "none", "--per-recording", "0", "--local-epochs", "1", "--batch-size", "32"),
)
ROWS: dict[str, tuple[str, ...]] = {
    "as shipped": (),
    "quickstart, learning rate 0.1": (*QUICKSTART, "--lr", "0.1"),
    "quickstart, learning rate 0.01": (*QUICKSTART, "--lr", "0.01"),
}


def start(flags: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start run_sim.py as a user would, with the run directory `folder`/run."""
    words = [*flags, "--quiet", "--no-pages", "--out", str(folder), "--name", "run"]
    script = [sys.executable, str(ROOT / "run_sim.py")]
    return subprocess.Popen([*script, *words], stdout=subprocess.DEVNULL)


def wait_for(process: subprocess.Popen[bytes]) -> None:
    """Wait for the process to end; `RuntimeError` if it failed."""
    if process.wait() != 0:
        raise RuntimeError(f"run_sim.py ended with exit code {process.returncode}.")


def pooled(flags: Sequence[str]) -> dict[str, Any]:
    """Validation results of one model trained on all sites' training records."""
    with tempfile.TemporaryDirectory() as name:
        # This run is made for its partition only.
        wait_for(start([*flags, "--rounds", "1", "--local-epochs", "1"], Path(name)))
        job = job_of(Path(name) / "run")
        wanted, _ = run_sim.settings(flags)
        budget = {"rounds": wanted.rounds, "local_epochs": wanted.local_epochs}
        config = load_config(job.config.model_dump() | budget)
        return measured(job, train_baseline(job.model_copy(update={"config": config}), POOLED))


def federation(flags: Sequence[str]) -> list[dict[str, Any]]:
    """Validation results after every round of a run, each with its seconds from the start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        seconds = watch(start(flags, folder), folder, began)
        job = job_of(folder / "run")
        return [
            {"round": n, "seconds": seconds[n], **measured(job, [folder / f"{n}.safetensors"])}
            for n in sorted(seconds)
        ]


def watch(process: subprocess.Popen[bytes], folder: Path, began: float) -> dict[int, float]:
    """Seconds at the end of each round; copies its weights, because a run deletes old ones."""
    seconds: dict[int, float] = {}
    over = False
    while not over:
        over = process.poll() is not None
        for path in sorted((folder / "run" / "checkpoint").glob("*/[0-9]*/last.safetensors")):
            number = int(path.parent.name.partition("-")[0])  # `000003-validated` is of round 3
            if number not in seconds:
                seconds[number] = time.monotonic() - began
                shutil.copy(path, folder / f"{number}.safetensors")
        time.sleep(0.05)
    wait_for(process)
    if sorted(seconds) != list(range(1, len(seconds) + 1)):
        raise RuntimeError(f"Some rounds were too short to be seen; seen: {sorted(seconds)}.")
    return seconds


def mean_of_sources(found: Mapping[str, Any]) -> float:
    """Macro-AUROC of each source, averaged."""
    return float(np.mean(list(found["sources"].values())))


def reached(curve: Sequence[Mapping[str, Any]], target: float) -> Mapping[str, Any] | None:
    """The first round that reaches the target, or None."""
    return next((point for point in curve if mean_of_sources(point) >= target), None)


def targets(whole: float) -> dict[str, float]:
    """The macro-AUROC that counts as reached, by the name of its column."""
    return {"95% of AUROC": SHARE * whole, "95% of skill": CHANCE + SHARE * (whole - CHANCE)}


def table(results: Mapping[str, Any]) -> list[str]:
    """One line per row and seed."""
    names = list(targets(1.0))
    lines = [
        f"| settings | seed | pooled | {' | '.join(names)} | best |",
        f"| --- | --- | --- | {'--- | ' * len(names)}--- |",
    ]
    for key, curve in results.items():
        name, _, seed = key.rpartition("/")
        if name == "pooled":
            continue
        whole = mean_of_sources(results[f"pooled/{seed}"])
        cells = [name, seed, f"{whole:.3f}"]
        for target in targets(whole).values():
            point = reached(curve, target)
            when = (
                f"{point['seconds']:.0f} s, round {point['round']} of {len(curve)}"
                if point
                else f"not in {len(curve)} rounds, {curve[-1]['seconds']:.0f} s"
            )
            cells.append(f"{target:.3f}: {when}")
        best = max(curve, key=mean_of_sources)
        cells.append(f"{mean_of_sources(best):.3f} after round {best['round']}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def draw(results: Mapping[str, Any]) -> bytes:
    """The plot as SVG: macro-AUROC of the first seed by seconds, and the target."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    axes = figure.subplots()
    first = next(iter(results)).rpartition("/")[2]
    for key, curve in results.items():
        name, _, seed = key.rpartition("/")
        if name == "pooled" or seed != first:
            continue
        axes.plot([p["seconds"] for p in curve], [mean_of_sources(p) for p in curve], label=name)
    whole = mean_of_sources(results[f"pooled/{first}"])
    for (name, target), line in zip(targets(whole).items(), ("--", ":"), strict=True):
        axes.axhline(target, color="0.4", linestyle=line, label=f"{name}, pooled training")
    axes.set(xlabel="seconds since the start", ylabel="macro-AUROC, mean of sources")
    tidy(axes)
    axes.legend(frameon=False, loc="lower right")
    return svg(figure)


def main() -> None:
    """Run what is not in the JSON file yet; print and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default="", help="names of rows, separated by semicolons")
    parser.add_argument("--clients", default="8")
    parser.add_argument("--most-rounds", default="60", help="of the quickstart's rows")
    parser.add_argument("--json", type=Path, default=Path("docs/results-target.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options, flags = parser.parse_known_args()
    flags = ["--data-dir", str(options.data_dir), "--clients", options.clients, *flags]
    flags += ["--cache-dir", str(options.cache_dir)]
    chosen = [n.strip() for n in options.only.split(";") if n.strip()] or list(ROWS)
    settings = {"flags": flags[2:-2], "most_rounds": options.most_rounds}
    file = StoredResults(
        options.json,
        {
            "settings": settings,
            "machine": machine_description("cpu"),
            "command": command("speed.target"),
        },
    )
    for seed in options.seeds.split(","):
        own = [*flags, "--seed", seed]
        file.get_or_make(f"pooled/{seed}", lambda own=own: pooled(own))
        for name in chosen:
            more = [*ROWS[name], *(("--rounds", options.most_rounds) if ROWS[name] else ())]
            file.get_or_make(f"{name}/{seed}", lambda own=own, more=more: federation([*own, *more]))
    note = f"Made by `{command('speed.target')}` on {file.content['machine']}."
    lines = table(file.content["results"])
    print("\n".join([*lines, "", note]))
    plot = options.results.with_name("performance-target.svg")
    write_atomically(plot, draw(file.content["results"]))
    picture = f"![Macro-AUROC by seconds since the start]({plot.name})"
    put_between_marks(options.results, "target", "\n".join([*lines, "", picture, "", note]))


if __name__ == "__main__":
    main()
