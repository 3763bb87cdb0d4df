"""The figures, table and plot of `benchmarks/speed/peers.py`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.plots import bars, svg
from benchmarks.speed.overhead import Runner
from benchmarks.speed.peer_adapters.workload import Workload

TOLERANCE = 1e-4  # of the last loss, relative to the pool's: sums in another order
POOL, HEARTFED = "pool", "heartfed"
Case = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework: its package, and the module that does the work with it."""

    title: str
    package: str  # the distribution whose version is reported
    module: str
    engine: str = ""  # of `engine_run`


ADAPTERS = "benchmarks.speed.peer_adapters"
FRAMEWORKS = {
    POOL: Framework(title="bare pool", package="torch", module=f"{ADAPTERS}.bare_pool"),
    HEARTFED: Framework(title="HeartFed", package="heartfed", module=Runner().module, engine="ray"),
    "flower": Framework(
        title="plain Flower", package="flwr", module=Runner().module, engine="flower"
    ),
    "pfl": Framework(title="pfl-research", package="pfl", module=f"{ADAPTERS}.pfl_research"),
    "fedlab": Framework(title="FedLab", package="fedlab", module=f"{ADAPTERS}.fedlab_scale"),
    "nvflare": Framework(
        title="NVFlare", package="nvflare", module=f"{ADAPTERS}.nvflare_simulator"
    ),
}


def figures(results: Mapping[str, Any], name: str, steps: int) -> dict[str, dict[str, Any]]:
    """Each framework's medians over the turns of a job, and how they compare with the pool."""
    turns: dict[str, dict[str, Any]] = {}
    for place, case in results.items():
        job, key, turn = place.split("/")
        if job == name:
            turns.setdefault(key, {})[turn] = case
    found: dict[str, dict[str, Any]] = {}
    for key, cases in turns.items():
        done = {turn: case for turn, case in cases.items() if "error" not in case}
        errors = [case["error"] for case in cases.values() if "error" in case]
        if errors:
            found[key] = {"error": errors[0]}
            continue
        rounds = [seconds for case in done.values() for seconds in case["rounds"][1:]]
        found[key] = {
            "round": float(np.median(rounds)),
            "round_low": min(rounds),
            "round_high": max(rounds),
            "steps": min(case["steps"] for case in done.values()),
            "steps_lost": 1 - min(case["steps"] for case in done.values()) / steps,
            "loss": float(np.median([case["loss"] for case in done.values()])),
        }
        for figure in ("start", "whole", "cpu"):
            found[key][figure] = float(np.median([case[figure] for case in done.values()]))
        pool = turns.get(POOL, {})
        found[key]["to_pool"] = _ratio(done, pool, lambda c: float(np.median(c["rounds"][1:])))
        found[key]["whole_to_pool"] = _ratio(done, pool, lambda c: c["whole"])
    loss = found.get(POOL, {}).get("loss")
    for entry in found.values():
        if "error" not in entry:
            same = loss is None or abs(entry["loss"] - loss) <= TOLERANCE * abs(loss)
            entry["equal"] = same and entry["steps"] == steps
    return found


def _ratio(
    cases: Mapping[str, Case], pool: Mapping[str, Case], seconds: Callable[[Case], float]
) -> float | None:
    """The median over turns of a figure divided by the pool's in the same turn."""
    ratios = [
        seconds(case) / seconds(pool[turn])
        for turn, case in cases.items()
        if turn in pool and "error" not in pool[turn]
    ]
    return float(np.median(ratios)) if ratios else None


def _result_text(entry: Mapping[str, Any]) -> str:
    """Whether the steps and the last loss are those of the pool."""
    if entry["equal"]:
        return "same"
    if entry["steps_lost"]:
        return f"{entry['steps_lost']:.1%} of the steps lost"
    return "**another loss**"


def table(found: Mapping[str, Mapping[str, Any]], versions: Mapping[str, str | None]) -> list[str]:
    """One line for each framework that was asked for."""
    lines = [
        "| framework | a round, s | relative to pool | start to finish, s | relative to pool "
        "| before round 1, s | processor seconds | steps | last loss | result |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, version in versions.items():
        title = FRAMEWORKS[key].title
        if key not in (POOL, HEARTFED) and version is not None:
            title += f" {version}"
        entry = found.get(key)
        if entry is None or "error" in entry:
            why = "not installed" if version is None else "not measured"
            lines.append(f"| {title} | {why if entry is None else entry['error']} |{' |' * 8}")
            continue
        cells = [
            title,
            f"{entry['round']:.2f} ({entry['round_low']:.2f} to {entry['round_high']:.2f})",
            "" if entry["to_pool"] is None else f"{entry['to_pool']:.2f}",
            f"{entry['whole']:.1f}",
            "" if entry["whole_to_pool"] is None else f"{entry['whole_to_pool']:.2f}",
            f"{entry['start']:.1f}",
            f"{entry['cpu']:.1f}",
            f"{entry['steps']:,}",
            f"{entry['loss']:.6f}",
            _result_text(entry),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def draw(by_job: Mapping[str, Mapping[str, Mapping[str, Any]]], keys: Sequence[str]) -> bytes:
    """The plot as SVG: a round, and start to finish, as multiples of the bare pool's."""
    names = [FRAMEWORKS[key].title for key in keys]
    figure = Figure(figsize=(9.0, 1.2 + 0.6 * len(names)), layout="constrained")
    for axes, figure_name, what in zip(
        figure.subplots(1, 2),
        ("to_pool", "whole_to_pool"),
        ("a round, relative to the bare pool", "start to finish, relative to the bare pool"),
        strict=True,
    ):
        series = {
            job: [found.get(key, {}).get(figure_name) for key in keys]
            for job, found in by_job.items()
        }
        bars(axes, names, series)
        axes.set_xlabel(what)
    return svg(figure)


def describe(workload: Workload) -> str:
    """A job in words."""
    return (
        f"{workload.sites:,} sites with {workload.train} + {workload.val} records each, "
        f"`{workload.model}`, batches of {workload.batch_size}, {workload.rounds} rounds"
    )
