"""Sites that lie, one or two of eight: what each way of merging makes of it.

    python -m benchmarks.studies.poisoning --work RUNS [--data-dir DATA] [--seeds 0,1,2]

Each cell is a whole run: partition, rounds, the choice of the best round and the test on records
that no site holds. The liars answer the first question honestly and lie from then on. A cell is
the mean over seeds of (central macro-AUROC of the run with liars - that of the honest run of the
same merging and seed), with the seed that is hit most. Results stay in --work; a second call makes
those that are missing. Without --data-dir the recordings are synthetic.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import fl  # noqa: F401  (first: it turns telemetry off before flwr is imported)
from benchmarks.common.countdown import Countdown
from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.util.atomic_io import write_atomically

ROOT = Path(__file__).resolve().parents[2]
SITES = 8
LIARS = ("site-3", "site-6")  # the first alone, or both
MARKS = "poisoning"
# Columns: a way of merging, and its settings. The clipping of updates stands in a column of its
# own; in a real run it is on beside every other way.
MERGES: dict[str, dict[str, Any]] = {
    "fedavg, no clipping": {"strategy": "fedavg", "clip_updates": 0.0},
    "fedavg (default)": {"strategy": "fedavg"},
    "fedmedian": {"strategy": "fedmedian", "clip_updates": 0.0},
    "fedtrimmedavg": {"strategy": "fedtrimmedavg", "clip_updates": 0.0},
    "krum": {"strategy": "krum", "clip_updates": 0.0},
}
HONEST = "honest"
# Each moves a site's update, or its counts; the last one knows the bound and stays below it.
ATTACKS = ("x1000", "labels flipped", "n = 1e12", "1e38", "x-9, below the bound")
Change = Callable[[Any, Any, Any], Any]  # request, context, honest reply -> reply


@dataclass(frozen=True, order=True)
class Cell:
    """One run: a way of merging, an attack, how many sites make it, and the seed."""

    merge: str
    attack: str
    liars: int
    seed: int

    @property
    def name(self) -> str:
        return "/".join(map(str, (self.merge, self.attack, self.liars, self.seed)))


def cells(seeds: Sequence[int]) -> list[Cell]:
    """All runs of the study; the honest ones first."""
    honest = [Cell(merge, HONEST, 0, seed) for seed in seeds for merge in MERGES]
    lied = [
        Cell(merge, attack, liars, seed)
        for seed in seeds
        for merge in MERGES
        for attack in ATTACKS
        for liars in (1, 2)
    ]
    return honest + lied


def lengthened(factor: float) -> Change:
    """The site's update, times a factor."""

    def change(request: Any, context: Any, reply: Any) -> Any:
        from fl.messages.flower_arrays import from_array_record, to_array_record
        from fl.messages.flower_codec import ARRAYS

        before = from_array_record(request.content[ARRAYS])
        after = from_array_record(reply.content[ARRAYS])
        reply.content[ARRAYS] = to_array_record(
            {k: (before[k] + factor * (v - before[k])).astype(v.dtype) for k, v in after.items()}
        )
        return reply

    return change


def filled(value: float) -> Change:
    """Every weight of the site's update is this number."""

    def change(request: Any, context: Any, reply: Any) -> Any:
        from fl.messages.flower_arrays import from_array_record, to_array_record
        from fl.messages.flower_codec import ARRAYS

        arrays = from_array_record(reply.content[ARRAYS])
        reply.content[ARRAYS] = to_array_record(
            {name: np.full_like(values, value) for name, values in arrays.items()}
        )
        return reply

    return change


def inflated(count: int) -> Change:
    """The site counts as if it had so many patients and records."""

    def change(request: Any, context: Any, reply: Any) -> Any:
        numbers = reply.content["metrics"]
        for name in ("num-examples", "train-patients"):
            numbers[name] = count
        return reply

    return change


def flipped(request: Any, context: Any, reply: Any) -> Any:
    """The site trains on the opposite of every label; its validation stays honest."""
    from clients.local_evaluation import evaluate_site
    from clients.local_training import train_site
    from clients.simulated_sites import open_site
    from fl.messages.flower_arrays import split_extra
    from fl.messages.flower_codec import (
        read_job,
        read_mu,
        read_round,
        read_validate_first,
        read_weights,
        training_reply,
    )
    from partitions.splits import TRAIN, VAL

    job, number = read_job(request), read_round(request)
    site = open_site(job, int(context.node_config["partition-id"]))
    weights, extra = split_extra(read_weights(request))
    first = read_validate_first(request)
    validation = evaluate_site(site, job, weights, VAL, None, number - 1) if first else None
    opposite = copy(site.splits[TRAIN])
    labels = opposite.labels
    vars(opposite)["labels"] = np.where(labels >= 0, 1 - labels, labels).astype(labels.dtype)
    liar = replace(site, splits={**site.splits, TRAIN: opposite})
    trained = train_site(liar, job, weights, number, read_mu(request), extra)
    return training_reply(trained, request, validation)


CHANGES: dict[str, Change] = {
    "x1000": lengthened(1000.0),
    "labels flipped": flipped,
    "n = 1e12": inflated(10**12),
    "1e38": filled(1e38),
    "x-9, below the bound": lengthened(-9.0),
}


def client_with(attack: str, liars: int) -> Callable[[Any, Any], Any]:
    """The client of a run, in which the first `liars` of LIARS make an attack when they train."""
    from clients.app import app

    odd = {int(name.removeprefix("site-")) - 1 for name in LIARS[:liars]}

    def client(message: Any, context: Any) -> Any:
        reply = app(message, context)
        lies = int(context.node_config["partition-id"]) in odd
        if message.metadata.message_type != "train" or not lies or reply.has_error():
            return reply
        return CHANGES[attack](message, context, reply)

    return client


@lru_cache(maxsize=1)
def prepared_run(settings: str) -> Any:
    """Recordings and partition of one seed; the runs of a seed share them."""
    from fl.config.config_file import load_config
    from server.experiment.choices import check_choices
    from server.experiment.prepare import prepare

    config = load_config(json.loads(settings))
    return prepare(config, check_choices(config))


def central_auroc(cell: Cell, base: Mapping[str, Any], work: str) -> dict[str, Any]:
    """One run to its end: its central macro-AUROC, and which sites were named."""
    from fl.config.config_file import load_config
    from server.app import SilentListener, server_app
    from server.engines.simulation import simulate
    from server.rounds.training_results import TrainingResult

    settings = {**base, "seed": cell.seed}
    prepared = prepared_run(json.dumps(settings, sort_keys=True))
    config = load_config(settings | MERGES[cell.merge])
    results: list[TrainingResult] = []
    folder = Path(tempfile.mkdtemp(dir=work))
    try:
        prepared.write_partition(folder)
        app = server_app(SilentListener(), results.append)
        client: Any = client_with(cell.attack, cell.liars)
        simulate(app, client, prepared.job(config, folder), len(prepared.partition.sites))
    finally:
        shutil.rmtree(folder)
    (result,) = results
    central = result.summary.central
    return {
        "auroc": central.macro_auroc.value if central else None,
        "named": sorted({failure["site"] for failure in result.failures}),
    }


def base_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that all runs share: a small network, few rounds."""
    given = {"clients": SITES, "engine": "local", "model": options.model, "local_epochs": 1}
    given |= {"rounds": options.rounds, "site_folds": 0, "workers": 1, "per_recording": 1}
    given |= {"lr": options.lr}
    if options.data_dir:
        sources = {"sources": options.sources} if options.sources else {}
        return given | {"data": "real", "data_dir": str(options.data_dir)} | sources
    return given | {
        "data": "synthetic",
        "sources": "synthetic",
        "synthetic_records": options.records,
    }


def table(results: Mapping[str, Mapping[str, Any]], seeds: Sequence[int]) -> str:
    """The honest runs, and how far each attack moves them."""
    lines = [f"| | {' | '.join(MERGES)} |", "| --- |" + " --- |" * len(MERGES)]

    def of(merge: str, attack: str, liars: int) -> list[float | None]:
        return [results[Cell(merge, attack, liars, seed).name]["auroc"] for seed in seeds]

    honest = {merge: of(merge, HONEST, 0) for merge in MERGES}
    row = [_mean(honest[merge]) for merge in MERGES]
    lines.append(f"| honest, macro-AUROC | {' | '.join(row)} |")
    for attack in ATTACKS:
        for liars in (1, 2):
            row = [_moved(of(merge, attack, liars), honest[merge]) for merge in MERGES]
            lines.append(f"| {attack}, {liars} of {SITES} | {' | '.join(row)} |")
    return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "n/a"


def _moved(values: Sequence[float | None], honest: Sequence[float | None]) -> str:
    pairs = zip(values, honest, strict=True)
    moved = [a - b for a, b in pairs if a is not None and b is not None]
    if not moved:
        return "n/a"
    most = max(moved, key=abs)
    return f"{np.mean(moved):+.3f} ({most:+.3f})"


def make_all(
    options: argparse.Namespace, wanted: Sequence[Cell], base: Mapping[str, Any]
) -> dict[str, Any]:
    """Every result, those that are stored and those that are made now."""
    path = options.work / "poisoning.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    kept = dict(stored.get("results", {})) if stored.get("settings") == dict(base) else {}
    left = [cell for cell in wanted if cell.name not in kept]
    countdown = Countdown(len(left))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, context) as pool:
        made = {pool.submit(central_auroc, cell, base, str(options.work)): cell for cell in left}
        for done in as_completed(made):
            cell = made[done]
            kept[cell.name] = done.result()
            content = {"settings": dict(base), "results": kept}
            write_atomically(path, json.dumps(content, indent=1).encode())
            countdown.done(f"{cell.name}: {kept[cell.name]}")
    return kept


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags of the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for results")
    parser.add_argument("--data-dir", type=Path, help="real recordings [synthetic ones]")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sources", default="", help="of --data-dir [all that are there]")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--model", default="cnn_simple")
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--records", type=int, default=300, help="synthetic recordings")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "security.md")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Make what is missing, and write the table."""
    options = parse(argv)
    options.work.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    base = base_settings(options)
    results = make_all(options, cells(seeds), base)
    kind = "real" if options.data_dir else "synthetic"
    text = (
        f"{table(results, seeds)}\n\nChange of the central macro-AUROC against the honest run of "
        f"the same column: mean over {len(seeds)} seeds, and in brackets the seed that moves most. "
        f"{kind.capitalize()} recordings, {options.model}, {options.rounds} rounds, "
        f"{machine_description('cpu')}. Made by `{command('studies.poisoning', False)}`."
    )
    put_between_marks(options.results, MARKS, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
