"""HeartFed beside other frameworks, each doing the same steps on the same records.

    python -m benchmarks.speed.peers [--turns 3] [--peer pfl=PYTHON] [--peer fedlab=PYTHON]
        [--peer nvflare=PYTHON] [--jobs 8,100,1000] [--frameworks pool,heartfed,...] [--quick]

A framework runs in an environment of its own: `--peer` names its interpreter, by default the one
that runs this. One that is not installed there is listed as such. Every training is a process of
its own, in turns; two processes train, with one thread each. The steps are counted, and the loss
of the last weights is measured here, on all validation records: a framework that took fewer steps
or ends with another loss is marked. Results in the JSON file are not measured again.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.speed.overhead import ROOT, Runner, run_case
from benchmarks.speed.peer_adapters.workload import LAST, Workload
from benchmarks.speed.peer_tables import FRAMEWORKS, Framework, describe, draw, figures, table
from clients.simulated_sites import sites_of
from fl.data.cohort import Cohort
from fl.messages.job import Job
from fl.training.frozen import network_to_train
from fl.training.loop import predict
from fl.training.losses import mean_loss
from fl.training.state_dict import load_weights, set_weights
from fl.util.atomic_io import write_atomically
from fl.util.child_process import handle_stop_signals
from partitions.splits import VAL

PROCESSES = 2
JOBS = {
    "8": Workload(
        sites=8, train=80, val=20, rounds=4, task="rhythm", model="cnn1d", batch_size=8, lr=2e-3
    ),
    "100": Workload(sites=100, train=8, val=2, rounds=4),
    # Four rounds: HeartFed's last one has a second validation, of the last weights, which the
    # median of the rounds after the first leaves out. Of two rounds it would be the only one.
    "1000": Workload(sites=1000, train=8, val=2, rounds=4),
}


def version_at(python: str, package: str) -> str | None:
    """The version of a package in the environment of an interpreter; None if it is not there."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    try:
        found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def last_loss(job: Job, weights: Path) -> float:
    """The mean loss of the last weights on the validation records of all sites."""
    config = job.config
    network = network_to_train(config.model, config.task, config.freeze)
    set_weights(network, load_weights(weights))
    val = Cohort.joined([site.splits[VAL] for site in sites_of(job).values()])
    return mean_loss(val.task, val.labels, predict(network, val))


def run_framework(job: Job, framework: Framework, python: str, limit: float) -> dict[str, Any]:
    """One training by one framework; if it fails or takes too long, only why."""
    runner = Runner(
        python=python,
        module=framework.module,
        environment={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        limit=limit,
    )
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / LAST.name
        try:
            case = run_case(job, framework.engine, idle=False, keep=kept, runner=runner)
        except subprocess.TimeoutExpired:
            return {"error": f"not in {limit:.0f} s"}
        except RuntimeError as error:
            print(error, flush=True)
            # The last line says why; folders of this machine are left out of it.
            reason = str(error).strip().splitlines()[-1]
            here = re.escape(tempfile.gettempdir()) + r"/[^/\s]+"
            return {"error": "failed", "reason": re.sub(here, "RUN", reason)}
        keys = ("start", "rounds", "whole", "cpu", "steps")
        return {key: case[key] for key in keys} | {"loss": last_loss(job, kept)}


def measure(
    file: StoredResults,
    jobs: Mapping[str, Workload],
    pythons: Mapping[str, str],
    options: argparse.Namespace,
) -> None:
    """All turns of all jobs with every framework that is installed; a failed one has no more."""
    results = file.content["results"]
    for name, workload in jobs.items():
        with tempfile.TemporaryDirectory() as folder:
            job = workload.job(Path(folder), PROCESSES)
            for turn in range(options.turns):
                for key in list(pythons)[:: -1 if turn % 2 else 1]:
                    if "error" in results.get(f"{name}/{key}/0", {}):
                        continue
                    file.get_or_make(
                        f"{name}/{key}/{turn}",
                        lambda k=key, j=job: run_framework(
                            j, FRAMEWORKS[k], pythons[k], options.limit
                        ),
                    )


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--frameworks", default=",".join(FRAMEWORKS), help="with pool among them")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="the interpreter of the environment that has a framework",
    )
    parser.add_argument("--limit", type=float, default=300.0, help="seconds of one training")
    parser.add_argument("--quick", action="store_true", help="few sites, to try the frameworks")
    parser.add_argument("--json", type=Path, default=Path("docs/performance-peers.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    for name in options.jobs.split(","):
        if name not in JOBS:
            parser.error(f"--jobs: {name} is none of {', '.join(JOBS)}")
    named = [word.partition("=")[0] for word in options.peer]
    for name in [*options.frameworks.split(","), *named]:
        if name not in FRAMEWORKS:
            parser.error(f"{name} is none of {', '.join(FRAMEWORKS)}")
    return options


def main() -> None:
    """Measure what is not in the JSON file yet, and write the table and the plot."""
    options = read_options()
    handle_stop_signals()  # so that the processes started here end with this one
    given = dict(word.split("=", 1) for word in options.peer)
    keys = options.frameworks.split(",")
    pythons = {key: given.get(key, sys.executable) for key in keys}
    versions = {key: version_at(pythons[key], FRAMEWORKS[key].package) for key in keys}
    jobs = {name: JOBS[name] for name in options.jobs.split(",")}
    if options.quick:
        jobs = {name: replace(job, sites=4, train=8, rounds=2) for name, job in jobs.items()}
    asked = command("speed.peers", data=False)
    stamp = {
        "settings": {name: vars(job) for name, job in jobs.items()},
        "machine": machine_description("cpu"),
        "command": asked,
    }
    file = StoredResults(options.json, stamp)
    installed = {key: python for key, python in pythons.items() if versions[key] is not None}
    measure(file, jobs, installed, options)
    by_job, text = {}, []
    for name, workload in jobs.items():
        found = figures(file.content["results"], name, workload.steps)
        by_job[f"{workload.sites:,} sites"] = found
        text += [f"{describe(workload)}:", "", *table(found, versions), ""]
    file.content |= {"versions": versions, "figures": by_job}
    file.write()
    print("\n".join(text))
    plot = options.results.with_name("performance-peers.svg")
    write_atomically(plot, draw(by_job, [key for key in keys if key in installed]))
    picture = f"![Rounds and whole runs of each framework, relative to a bare pool]({plot.name})"
    note = f"Made by `{asked}` on {file.content['machine']}, synthetic, {options.turns} turns."
    put_between_marks(options.results, "peers", "\n".join([*text, picture, "", note]))


if __name__ == "__main__":
    main()
