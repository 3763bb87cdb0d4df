"""What secure aggregation costs: the seconds of a round with it and without it, in turns.

    python -m benchmarks.speed.secure_aggregation [--sites 8,100] [--turns 3] [--json FILE]

The embedded synthetic cohort is dealt to the sites and trained on with the default network under
Ray. A round with secure aggregation has four more requests to each site, and each site draws a
mask for each neighbour. Both runs end with the same weights, bit for bit, which is checked.
"""

import argparse
import hashlib
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.speed.overhead import prepared_job, run_case
from fl.config.config_file import load_config
from fl.data.example_cache import default_cache_dir
from fl.training.state_dict import load_weights

ROUNDS = 4
KINDS = {"plain": False, "secure": True}


def one_turn(sites: int, cache: Path, folder: Path) -> dict[str, Any]:
    """Rounds' seconds of both kinds of run; `RuntimeError` if their weights differ."""
    found: dict[str, Any] = {}
    digests = set()
    for kind, secure in KINDS.items():
        config = load_config(
            {
                "data": "synthetic",
                "clients": sites,
                "rounds": ROUNDS,
                "secure_aggregation": secure,
                "engine": "ray",
            }
        )
        place = folder / f"{sites}-{kind}"
        place.mkdir(parents=True, exist_ok=True)
        job = prepared_job(config, cache, place)
        case = run_case(job, "ray", idle=False, keep=place / "last.safetensors")
        found[kind] = case["rounds"]
        digests.add(_digest(place / "last.safetensors"))
    if len(digests) != 1:
        raise RuntimeError(f"With {sites} sites the secure run ended with other weights.")
    return found


def _digest(path: Path) -> str:
    weights = load_weights(path)
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode() + weights[name].tobytes())
    return total.hexdigest()


def table(results: Mapping[str, Any]) -> list[str]:
    """Median seconds of a round after the first, and their ratio."""
    lines = ["| sites | plain, s | secure, s | ratio |", "| --- | --- | --- | --- |"]
    by_sites: dict[str, list[dict[str, Any]]] = {}
    for key, turn in results.items():
        by_sites.setdefault(key.partition("/")[0], []).append(turn)
    for sites, turns in by_sites.items():
        plain, secure = (_median([turn[kind] for turn in turns]) for kind in KINDS)
        lines.append(f"| {sites} | {plain:.2f} | {secure:.2f} | {secure / plain:.2f} |")
    return lines


def _median(rounds: Sequence[Sequence[float]]) -> float:
    return statistics.median(second for run in rounds for second in run[1:])


def main() -> None:
    """Measure what is not in the JSON file yet; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--sites", default="8,100")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("runs/secure-aggregation"))
    parser.add_argument("--json", type=Path, default=Path("docs/results-secure-aggregation.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    file = StoredResults(
        options.json,
        {
            "settings": {"rounds": ROUNDS},
            "machine": machine_description("cpu"),
            "command": command("speed.secure_aggregation", data=False),
        },
    )
    for turn in range(options.turns):
        for text in options.sites.split(","):
            file.get_or_make(
                f"{text}/{turn}",
                lambda text=text: one_turn(int(text), default_cache_dir(), options.work),
            )
    lines = table(file.content["results"])
    note = f"Made by `{file.content['command']}` on {file.content['machine']}."
    print("\n".join([*lines, "", note]))
    put_between_marks(options.results, "secure-aggregation", "\n".join([*lines, "", note]))


if __name__ == "__main__":
    main()
