"""The cost of a federation beyond its training: our engines, a bare pool and plain Flower.

    python -m benchmarks.speed.overhead [--turns 3] [--busy] [--idle] [--engines pool,ray]
        [--json FILE]

Every engine trains the same network on the same sites, each in its own process, in turns:
`pool`, a pool of processes that does the same requests and merges nothing; `local` and `ray`,
HeartFed's engines; `flower`, Flower's quickstart around HeartFed's training step; and, with the
default network, `quickstart`, where that step is written plainly too. Measured are the seconds of
a round, of start and of stop beyond loading torch, the processor time, and the memory of all
processes. `--busy` also measures each engine while another program keeps one core busy, `--idle`
with sites that reply without training. Results in the JSON file are not measured again.
"""

import argparse
import csv
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.plots import bars, svg
from benchmarks.common.process_watch import ProcessWatch
from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.speed.engine_run import ENGINES
from fl.config.run_config import RunConfig
from fl.data.example_cache import default_cache_dir
from fl.datasets.source_selection import select_sources
from fl.ecg.tasks import TASKS
from fl.messages.job import Job
from fl.util.atomic_io import write_atomically
from fl.util.child_process import handle_stop_signals
from fl.util.cores import available_cores
from server.experiment.prepare import prepare

ROOT = Path(__file__).parents[2]
LIMIT = 900  # seconds until a case is ended
STATES = {"": "quiet machine", "busy": "one core busy", "idle": "without training"}


def prepared_job(config: RunConfig, cache: Path, folder: Path) -> Job:
    """The job of these settings: records preprocessed, and the partition written to `folder`."""
    prepared = prepare(config, select_sources(config), cache)
    prepared.write_partition(folder)
    return prepared.job(config, folder)


@contextmanager
def one_core_busy() -> Iterator[None]:
    """Keep one core busy by another program, which ends by itself after `LIMIT` at the latest."""
    code = f"import time\nend = time.time() + {LIMIT}\nwhile time.time() < end: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def torch_seconds() -> float:
    """Seconds that a new process takes to load torch, beyond starting Python."""
    seconds = []
    for code in ("import torch", "pass"):
        began = time.time()
        subprocess.run([sys.executable, "-c", code], check=True)
        seconds.append(time.time() - began)
    return seconds[0] - seconds[1]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What runs a case: a module in an environment, and how long it may take."""

    python: str = sys.executable
    module: str = "benchmarks.speed.engine_run"
    environment: Mapping[str, str] = field(default_factory=dict)  # beside that of this process
    limit: float = LIMIT  # seconds


def run_case(
    job: Job,
    engine: str,
    idle: bool,
    memory: float = 0.0,
    keep: Path | None = None,
    runner: Runner | None = None,
) -> dict[str, Any]:
    """One training by one engine in a new process and a new folder.

    `memory` is the seconds between two readings of the memory; 0 reads none. `keep`: where the
    last round's weights are copied to. Raises RuntimeError if the case fails, and
    `subprocess.TimeoutExpired` if it takes too long; its processes are ended in any case.
    """
    runner = runner or Runner()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "partition.csv").symlink_to(Path(job.workspace) / "partition.csv")
        settings = {"engine": engine if engine in ("local", "ray") else "local"}
        config = job.config.model_copy(update=settings)
        job = job.model_copy(update={"config": config, "workspace": name})
        case = folder / "case.json"
        text = {"engine": engine, "idle": idle, "job": job.model_dump()}
        case.write_text(json.dumps(text))
        words = [runner.python, "-m", runner.module, str(case)]
        environment = os.environ | runner.environment
        began = time.time()
        with (folder / "output.txt").open("w+") as output:
            process = subprocess.Popen(
                words, stdout=output, stderr=subprocess.STDOUT, env=environment
            )
            with ProcessWatch(process.pid, memory or 0.5, bool(memory)) as watch:
                try:
                    code = process.wait(runner.limit)
                finally:
                    ended = time.time()
                    watch.end_all()
            if code != 0:
                output.seek(0)
                raise RuntimeError(f"{engine}: exit code {code}\n{output.read()[-3000:]}")
        moments = json.loads(case.with_suffix(".moments").read_text())
        if keep is not None:
            shutil.copy(folder / "weights" / f"{job.strategy}-last.safetensors", keep)
        requests = [row for path in folder.glob("requests-*.csv") for row in _rows(path)]
        visits = [line for p in folder.glob("visits-*.csv") for line in p.read_text().split()]
    ends = [moments["began"], *moments["rounds"]]
    return {
        "start": moments["began"] - began,
        "rounds": [end - start for start, end in itertools.pairwise(ends)],
        "test": moments["done"] - ends[-1],
        "stop": ended - moments["done"],
        "whole": ended - began,
        "cpu": watch.cpu_seconds,
        "peak_bytes": watch.peak,
        "requests": requests,
        "steps": sum(int(line.split(",")[2]) for line in visits),
    }


def _rows(path: Path) -> list[tuple[str, str, float]]:
    with path.open(newline="") as file:
        return [(doing, site, float(seconds)) for doing, site, seconds in csv.reader(file)]


def best_packing(seconds: Sequence[float], workers: int) -> float:
    """The shortest time in which `workers` can do jobs of these seconds, each job on one worker.

    Exact for two workers and at most 20 jobs, else a lower bound.
    """
    total = math.fsum(seconds)
    bound = max([total / workers, *seconds])
    if workers != 2 or not 0 < len(seconds) <= 20:
        return bound
    first = np.zeros(1)  # every total that one worker can have, without the last job
    for job in seconds[:-1]:
        first = np.concatenate([first, first + job])
    return float(np.maximum(first, total - first).min())


def packing(case: Mapping[str, Any], workers: int) -> float | None:
    """Seconds of all rounds, divided by the best packing of the requests of their own.

    None if the requests were not timed.
    """
    best, rounds = 0.0, len(case["rounds"])
    for kind in ("train", "val"):
        by_site: dict[str, list[float]] = {}
        for doing, site, seconds in case["requests"]:
            if doing == kind:
                by_site.setdefault(site, []).append(seconds)
        # HeartFed's sites validate in their training requests; only the weights of the last round
        # are validated in requests of their own.
        times = max(map(len, by_site.values()), default=0)
        if not 0 < times <= rounds:
            return None
        best += times * best_packing([float(np.mean(s)) for s in by_site.values()], workers)
    return math.fsum(case["rounds"]) / best


def figures(results: Mapping[str, Any], state: str, workers: int) -> dict[str, dict[str, Any]]:
    """Each engine's medians over the turns, and how they compare with the other engines."""
    torch = float(np.median([r for name, r in results.items() if name.endswith("/torch")]))
    found: dict[str, dict[str, Any]] = {}
    for engine in ENGINES:
        turns = [
            r for name, r in results.items() if name.startswith(f"{state or 'quiet'}/{engine}/")
        ]
        memory = results.get(f"memory/{engine}")
        if not turns:
            continue
        rounds = [seconds for turn in turns for seconds in turn["rounds"][1:]]
        packed = [p for turn in turns if (p := packing(turn, workers)) is not None]
        found[engine] = {
            "round": float(np.median(rounds)),
            "round_low": min(rounds),
            "round_high": max(rounds),
            "packing": float(np.median(packed)) if packed and engine != "local" else None,
            "start": float(np.median([t["start"] for t in turns])) - torch,
            "test": float(np.median([t["test"] for t in turns])),
            "stop": float(np.median([t["stop"] for t in turns])),
            "whole": float(np.median([t["whole"] for t in turns])),
            "cpu": float(np.median([t["cpu"] for t in turns])),
            "peak_bytes": memory["peak_bytes"] if memory and not state else None,
        }
    for engine, entry in found.items():
        # Engines are compared within a turn, because the machine's speed changes between turns.
        ratios = to_pool(results, state or "quiet", engine)
        entry["to_pool"] = float(np.median(ratios))
        entry["to_pool_low"], entry["to_pool_high"] = min(ratios), max(ratios)
        for other in ("flower", "quickstart"):
            # Only HeartFed tests the best round in the end; without it, the work is the same.
            baseline = found[other]["whole"] - found[other]["test"] if other in found else None
            own = entry["whole"] - entry["test"]
            entry[f"faster_than_{other}"] = None if baseline is None else baseline / own
    return found


def to_pool(results: Mapping[str, Any], state: str, engine: str) -> list[float]:
    """Seconds of each turn's rounds after the first, divided by the pool's in the same turn."""
    seconds_of: dict[str, dict[str, float]] = {"pool": {}, engine: {}}
    for name, turn in results.items():
        case_state, _, rest = name.partition("/")
        case_engine, _, number = rest.partition("/")
        if case_state == state and case_engine in seconds_of:
            seconds_of[case_engine][number] = math.fsum(turn["rounds"][1:])
    return [seconds / seconds_of["pool"][number] for number, seconds in seconds_of[engine].items()]


def table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line for each engine."""
    lines = [
        "| engine | round, s | relative to pool | relative to best packing | start, s "
        "| final test, s | stop, s | start to finish, s | Flower for the same work "
        "| quickstart for the same work | processor seconds | peak memory, MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for engine, entry in found.items():
        memory, packed = entry["peak_bytes"], entry["packing"]
        cells = [
            engine,
            f"{entry['round']:.3f} ({entry['round_low']:.3f} to {entry['round_high']:.3f})",
            f"{entry['to_pool']:.3f}"
            + (
                ""
                if entry["to_pool_low"] == entry["to_pool_high"]
                else f" ({entry['to_pool_low']:.3f} to {entry['to_pool_high']:.3f})"
            ),
            "" if packed is None else f"{packed:.3f}",
            f"{entry['start']:.1f}",
            f"{entry['test']:.1f}",
            f"{entry['stop']:.1f}",
            f"{entry['whole']:.1f}",
            *(
                "" if times is None else f"{times:.2f} times as long"
                for times in (entry["faster_than_flower"], entry["faster_than_quickstart"])
            ),
            f"{entry['cpu']:.1f}",
            "" if not memory else f"{memory / 2**20:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def draw(by_state: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> bytes:
    """The plot as SVG: seconds per round and in all, by engine and state of the machine."""
    names = list(next(iter(by_state.values())))
    figure = Figure(figsize=(9.0, 0.9 + 0.5 * len(names)), layout="constrained")
    for axes, key, what in zip(
        figure.subplots(1, 2),
        ("round", "whole"),
        ("seconds per round", "seconds from start to finish"),
        strict=True,
    ):
        bars(
            axes,
            names,
            {
                STATES[state]: [found[n][key] if n in found else None for n in names]
                for state, found in by_state.items()
            },
        )
        axes.set_xlabel(what)
    return svg(figure)


def engines_of(job: Job, state: str, asked: Sequence[str]) -> list[str]:
    """The engines that can run a state: the quickstart needs the default network and training."""
    quickstart = job.config.model == TASKS[job.config.task].model and state != "idle"
    return [engine for engine in asked if quickstart or engine != "quickstart"]


def measure(
    file: StoredResults, job: Job, turns: int, states: Sequence[str], asked: Sequence[str]
) -> None:
    """All turns, each with every engine; then one turn for memory."""
    for turn in range(turns):
        file.get_or_make(f"{turn}/torch", torch_seconds)
        for state in states:
            for engine in engines_of(job, state, asked)[:: -1 if turn % 2 else 1]:
                name = f"{state or 'quiet'}/{engine}/{turn}"
                if state == "busy":
                    with one_core_busy():
                        file.get_or_make(name, lambda e=engine: run_case(job, e, False))
                else:
                    idle = state == "idle"
                    file.get_or_make(name, lambda e=engine, i=idle: run_case(job, e, i))
    for engine in engines_of(job, "", asked):
        file.get_or_make(f"memory/{engine}", lambda e=engine: run_case(job, e, False, memory=1.0))


def main() -> None:
    """Measure what is not in the JSON file yet, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--partition", default="iid")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--records", type=int, default=2000, help="twelve-lead, synthetic")
    parser.add_argument("--model", default="resnet1d")
    parser.add_argument("--local-epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--engines", default=",".join(ENGINES), help="with pool among them")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--json", type=Path, default=Path("docs/performance-overhead.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    parser.add_argument("--name", default="overhead", help="of the table in the results")
    options = parser.parse_args()
    handle_stop_signals()  # so that the processes started here end with this one
    keys = ("rounds", "clients", "partition", "alpha", "model", "local_epochs", "seed", "workers")
    settings = {key: getattr(options, key) for key in keys} | {"records": options.records}
    given = {k: v for k, v in settings.items() if k != "records"}
    config = RunConfig(
        data="synthetic", synthetic_records=options.records, rhythm_features="none", **given
    )
    states = ["", *(["busy"] if options.busy else []), *(["idle"] if options.idle else [])]
    asked = command("speed.overhead", data=False)
    file = StoredResults(
        options.json,
        {"settings": settings, "machine": machine_description("cpu"), "command": asked},
    )
    with tempfile.TemporaryDirectory() as folder:
        job = prepared_job(config, options.cache_dir, Path(folder))
        measure(file, job, options.turns, states, options.engines.split(","))
    workers = config.workers or available_cores()
    text, by_state = [], {}
    for state in states:
        found = by_state[state] = figures(file.content["results"], state, workers)
        file.content.setdefault("figures", {})[state or "quiet"] = found
        text += [f"{STATES[state].capitalize()}:", "", *table(found), ""]
    file.write()
    print("\n".join(text))
    note = (
        f"Made by `{asked}` on {file.content['machine']}, synthetic records, seed {options.seed}."
    )
    plot = options.results.with_name(f"performance-{options.name}.svg")
    write_atomically(
        plot, draw({state: found for state, found in by_state.items() if state != "idle"})
    )
    picture = f"![Seconds per round and from start to finish, by engine]({plot.name})"
    put_between_marks(options.results, options.name, "\n".join([*text, picture, "", note]))


if __name__ == "__main__":
    main()
