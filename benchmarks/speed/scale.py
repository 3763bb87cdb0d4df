"""Seconds and memory of a federation with 8 to 1,000 sites.

    python -m benchmarks.speed.scale [--sites 8,32,128,512,1000] [--records 32000] [--each 32]

First the same records are divided among more and more sites: the work stays the same, and so
should time and memory. Then every site has `--each` records: the work grows with the sites. Every
size runs in its own process under `--engine ray`, and its memory is read every two seconds. Writes
a table, a plot and a JSON file; results in the file are not measured again.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.plots import svg, tidy
from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.speed.overhead import prepared_job, run_case
from fl.config.run_config import RunConfig
from fl.data.example_cache import default_cache_dir
from fl.util.atomic_io import write_atomically
from fl.util.child_process import handle_stop_signals

TOTAL, EACH = "the same records in all", "the same records per site"


def config_of(sites: int, records: int, options: argparse.Namespace) -> RunConfig:
    """The settings of one size."""
    return RunConfig(
        data="synthetic",
        rhythm_features="none",
        synthetic_records=records * 2 // 3,  # and half as many of two leads
        clients=sites,
        partition="iid",
        rounds=options.rounds,
        local_epochs=1,
        model=options.model,
        seed=options.seed,
        quorum=0.01,
    )


def one_size(sites: int, records: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of one size."""
    with tempfile.TemporaryDirectory() as folder:
        job = prepared_job(config_of(sites, records, options), options.cache_dir, Path(folder))
        return summed(run_case(job, "ray", idle=False, memory=2.0))


def summed(case: dict[str, Any]) -> dict[str, Any]:
    """A case's figures, with the number and total seconds of its thousands of requests."""
    requests = case.pop("requests")
    total = sum(seconds for _, _, seconds in requests)
    return case | {"requests": len(requests), "request_seconds": total}


def rows(results: Mapping[str, Any], kind: str, sizes: Sequence[int]) -> list[dict[str, float]]:
    """The figures of each size that has been measured."""
    cases = {n: results[f"{kind}/{n}"] for n in sizes if f"{kind}/{n}" in results}
    return [
        {
            "sites": sites,
            "round": float(np.median(case["rounds"][1:])),
            "whole": case["whole"],
            "cpu": case["cpu"],
            "bytes": case["peak_bytes"],
        }
        for sites, case in cases.items()
    ]


def table(found: Sequence[Mapping[str, float]]) -> list[str]:
    """One line per size, compared with the first size."""
    lines = [
        "| sites | round, s | start to finish, s | relative to first | processor seconds "
        "| relative to first | peak memory, MiB | relative to first |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return lines + [
        f"| {row['sites']:,} | {row['round']:.2f} | {row['whole']:.1f} "
        f"| {row['whole'] / found[0]['whole']:.2f} | {row['cpu']:.0f} "
        f"| {row['cpu'] / found[0]['cpu']:.2f} | {row['bytes'] / 2**20:.0f} "
        f"| {row['bytes'] / found[0]['bytes']:.2f} |"
        for row in found
    ]


def draw(by_kind: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """The plot as SVG: seconds from start to finish, and memory, by number of sites."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    for (kind, found), marker in zip(by_kind.items(), "os", strict=True):
        sites = [row["sites"] for row in found]
        seconds.plot(sites, [row["whole"] for row in found], marker=marker, label=kind)
        memory.plot(sites, [row["bytes"] / 2**30 for row in found], marker=marker, label=kind)
    for axes, what in ((seconds, "start to finish (s)"), (memory, "all processes (GiB)")):
        axes.set(xscale="log", xlabel="sites", ylabel=what, ylim=(0, None))
        ticks = [row["sites"] for row in next(iter(by_kind.values()))]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        tidy(axes)
    seconds.legend(frameon=False)
    return svg(figure)


def main() -> None:
    """Measure what is not in the JSON file yet, and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--sites", default="8,32,128,512,1000")
    parser.add_argument("--records", type=int, default=32000, help="of all sites together")
    parser.add_argument("--each", type=int, default=32, help="of each site, in the second series")
    parser.add_argument("--most", type=int, default=512, help="sites in the second series")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="resnet1d")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--json", type=Path, default=Path("docs/performance-scale.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    parser.add_argument("--plot", type=Path, default=Path("docs/performance-scale.svg"))
    options = parser.parse_args()
    handle_stop_signals()  # so that the processes started here end with this one
    sizes = [int(word) for word in options.sites.split(",")]
    keys = ("records", "each", "rounds", "model", "seed")
    settings = {key: getattr(options, key) for key in keys}
    asked = command("speed.scale", data=False)
    file = StoredResults(
        options.json,
        {"settings": settings, "machine": machine_description("cpu"), "command": asked},
    )
    series = {
        TOTAL: dict.fromkeys(sizes, options.records),
        EACH: {sites: sites * options.each for sites in sizes if sites <= options.most},
    }
    for kind, records_of in series.items():
        for sites, records in records_of.items():
            file.get_or_make(f"{kind}/{sites}", lambda n=sites, r=records: one_size(n, r, options))
    by_kind = {kind: rows(file.content["results"], kind, sizes) for kind in series}
    text = []
    for kind, found in by_kind.items():
        text += [f"{kind.capitalize()}:", "", *table(found), ""]
    print("\n".join(text))
    write_atomically(options.plot, draw(by_kind))
    note = f"Made by `{asked}` on {file.content['machine']}, synthetic, seed {options.seed}."
    picture = f"![Seconds and memory by number of sites]({options.plot.name})"
    put_between_marks(options.results, "scale", "\n".join([*text, picture, "", note]))


if __name__ == "__main__":
    main()
