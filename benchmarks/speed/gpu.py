"""Speed of networks and federations on a GPU, compared with one CPU thread and all CPU cores.

    python -m benchmarks.speed.gpu [--turns 3] [--rounds 5] [--json FILE]

For each network, the records per second of whole training steps (`fl.training.loop.fit`) and of
prediction: on one CPU thread, on the GPU in float32, on the GPU in bfloat16. They take turns; the
first turn is not counted, and the fastest of the others is used. Then the rounds per second of a
federation of eight sites on Ray, with as many workers as cores, from `rounds.csv` without the
first round. Data: synthetic twelve-lead recordings. Exit code 2 if there is no GPU.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.common.results_store import command, machine_description
from benchmarks.speed.train import one_pass
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.tasks import RHYTHM_SIGNAL
from fl.models import build_network
from fl.training.loop import fit, predict

NETWORKS = (RHYTHM_SIGNAL.model, "resnet1d", "resnet1d_large")
WAYS = {"cpu": ("cpu", False), "gpu, float32": ("cuda", False), "gpu, bfloat16": ("cuda", True)}
RUN_SIM = Path(__file__).parents[2] / "run_sim.py"


def rate(n: int, work: Callable[[], Any]) -> float:
    """Records per second. Both kinds of work end by reading the GPU's result, so all is counted."""
    began = time.perf_counter()
    work()
    return n / (time.perf_counter() - began)


def speeds(name: str, cohort: Cohort, device: str, bf16: bool) -> dict[str, float]:
    """One turn of one network: records per second."""
    torch.manual_seed(0)
    network = build_network(name, RHYTHM_SIGNAL)
    plan = one_pass(device, bf16)
    n = len(cohort)
    return {
        "training": rate(n, lambda: fit(network, cohort, plan)),
        "prediction": rate(n, lambda: predict(network, cohort, 1, device=device, bf16=bf16)),
    }


def best(turns: list[dict[str, float]]) -> dict[str, float]:
    """The fastest turn of each kind, without the first turn, which loads libraries."""
    return {key: max(turn[key] for turn in turns[1:]) for key in turns[0]}


def rounds_per_second(device: str, rounds: int, folder: Path) -> float:
    """Rounds per second of a federation of eight sites on Ray."""
    flags = ["--data", "synthetic", "--clients", "8", "--local-epochs", "1", "--no-pages"]
    more = ["--rounds", str(rounds), "--device", device, "--out", str(folder), "--name", device]
    words = [sys.executable, str(RUN_SIM), *flags, *more, "--quiet"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    with (folder / device / "rounds.csv").open(newline="") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return 1 / median(seconds[1:])


def table(networks: dict[str, Any], federation: dict[str, float]) -> str:
    """The table of networks as Markdown, and a line on the federation."""
    lines = [f"| network | work, records/s | {' | '.join(WAYS)} |", "| --- " * 5 + "|"]
    for name, found in networks.items():
        for work in ("training", "prediction"):
            cells = " | ".join(f"{found[way][work]:,.0f}" for way in WAYS)
            lines.append(f"| {name} | {work} | {cells} |")
    rates = ", ".join(f"{device} {value:.2f}" for device, value in federation.items())
    return "\n".join([*lines, "", f"Rounds per second of eight sites on Ray: {rates}."])


def main() -> int:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--records", type=int, default=256, help="of each pass that is timed")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch finds no GPU, so there is nothing to measure.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = replace(SYNTHETIC, n_records=options.records, seconds=(10.0, 12.0))
        cohort = Cohort.open(RHYTHM_SIGNAL, [prepare(source, folder, RHYTHM_SIGNAL, folder)])
        turns = [
            {n: {way: speeds(n, cohort, *how) for way, how in WAYS.items()} for n in NETWORKS}
            for _ in range(1 + options.turns)
        ]
        networks = {n: {way: best([t[n][way] for t in turns]) for way in WAYS} for n in NETWORKS}
        federation = {d: rounds_per_second(d, options.rounds, folder) for d in ("cpu", "cuda")}
    where = machine_description(torch.cuda.get_device_name())
    print(table(networks, federation))
    print(f"\nMade by `{command('speed.gpu', data=False)}` on {where}.")
    if options.json:
        result = {"machine": where, "networks": networks, "federation": federation}
        options.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
