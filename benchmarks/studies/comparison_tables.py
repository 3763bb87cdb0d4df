"""A finished comparison over several seeds as tables for docs/results.md.

    python run_sim.py --clients 8 --compare --holdout ptbxl --seeds 0,1,2 --rounds 15 --name gain
    python -m benchmarks.studies.comparison_tables runs/gain [--results docs/results.md]

Every figure is read from the run directory.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.results_store import put_between_marks
from fl.evaluation.seed_summary import figures_of
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.reports.number_format import number
from fl.runs.results import RunSummary, read_seeds, read_summary

METRICS = {"macro_auroc": "macro-AUROC", "macro_f1": "macro-F1"}
SHARE_OF_POOLED, LARGEST_FALL, SHARE_AT_SITES = 0.97, 0.04, 0.93  # targets


def cell(values: Sequence[float | None]) -> str:
    """Mean over the seeds, and their range."""
    known = [v for v in values if v is not None]
    if not known:
        return "n/a"
    return f"{number(np.mean(known))} ({number(min(known))} to {number(max(known))})"


def at(summary: RunSummary, strategy: str, where: str, metric: str) -> float | None:
    """One value of one seed; `where` is a group, or a source of the central records."""
    result = summary.strategies[strategy]
    figures = figures_of(result)
    if (where, metric) in figures:
        return figures[where, metric]
    group = result.central_by_source.get(where)
    return group.estimate(metric).value if group else None


def side_by_side(summaries: Sequence[RunSummary], wheres: Sequence[str]) -> list[str]:
    """One line per training and metric."""
    lines = [
        f"| training | measure | {' | '.join(w.replace('_', ' ') for w in wheres)} | steps |",
        f"| --- | --- | {'--- | ' * len(wheres)}--- |",
    ]
    for strategy in summaries[0].strategies:
        steps = [s.strategies[strategy].gradient_steps for s in summaries]
        for metric, title in METRICS.items():
            cells = [cell([at(s, strategy, w, metric) for s in summaries]) for w in wheres]
            lines.append(
                f"| {strategy} | {title} | {' | '.join(cells)} | {round(np.mean(steps)):,} |"
            )
    return lines


def against_pooled(summaries: Sequence[RunSummary], strategy: str, sources: Sequence[str]) -> str:
    """How close a strategy comes to pooled training, compared with the targets."""
    central = [_share(s, strategy, "central", "macro_auroc") for s in summaries]
    at_sites = [_share(s, strategy, "mean_site", "macro_f1") for s in summaries]
    falls = {
        source: np.mean(
            [
                pooled - own
                for s in summaries
                if None
                not in (
                    own := at(s, strategy, source, "macro_auroc"),
                    pooled := at(s, "pooled", source, "macro_auroc"),
                )
            ]
        )
        for source in sources
    }
    worst = max(falls, key=lambda source: falls[source])
    better = [_sites_above_local(s, strategy) for s in summaries]
    return (
        f"- **{strategy}**: {_percent(central)} of pooled training's macro-AUROC on the central "
        f"test (target: {SHARE_OF_POOLED:.0%}); the source furthest below pooled training is "
        f"{worst}, by {falls[worst]:+.3f} (target: at most {LARGEST_FALL}); {_percent(at_sites)} "
        f"of pooled training's macro-F1 over the sites (expected: {SHARE_AT_SITES:.0%}); above "
        f"local training at {', '.join(f'{a} of {n}' for a, n in better)} sites."
    )


def _share(summary: RunSummary, strategy: str, where: str, metric: str) -> float:
    own, pooled = (at(summary, name, where, metric) for name in (strategy, "pooled"))
    return own / pooled if own is not None and pooled else float("nan")


def _percent(shares: Sequence[float]) -> str:
    return f"{np.mean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"


def _sites_above_local(summary: RunSummary, strategy: str) -> tuple[int, int]:
    """Number of sites with a higher macro-F1 than by local training, and of sites measured."""
    own, local = (summary.strategies[name].sites for name in (strategy, "local"))
    pairs = [
        (measures.macro_f1.value, other.macro_f1.value)
        for site, measures in own.items()
        if measures and (other := local.get(site))
    ]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return sum(a > b for a, b in known), len(known)


def intervals(summaries: Mapping[str, RunSummary], strategies: Sequence[str]) -> list[str]:
    """Paired differences on every group except single sites, for each seed."""
    lines = ["| difference | where | measure | each seed |", "| --- | --- | --- | --- |"]
    wanted = [
        (d.strategy, d.against, d.where, d.metric)
        for d in differences_of(next(iter(summaries.values())))
        if d.strategy in strategies and d.site is None
    ]
    for key in wanted:
        cells = [_interval(summary, key) for summary in summaries.values()]
        name, against, where, metric = key
        lines.append(
            f"| {name} minus {against} | {where.replace('_', ' ')} | {METRICS[metric]} "
            f"| {', '.join(cells)} |"
        )
    return lines


def _interval(summary: RunSummary, key: tuple[str, ...]) -> str:
    for d in differences_of(summary):
        if (d.strategy, d.against, d.where, d.metric) == key:
            if d.value is None:
                return "n/a"
            if d.low is None:
                return f"{d.value:+.3f}"
            return f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
    return "n/a"


def differences_of(summary: RunSummary) -> Sequence[ComparisonRow]:
    """Every difference of a run; none without --compare."""
    return summary.comparison.differences if summary.comparison else ()


def report(folder: Path) -> list[str]:
    """All tables of a folder of seed-*/ run directories."""
    seeds = read_seeds(folder).seeds
    runs = {f"seed-{s}": json.loads((folder / f"seed-{s}" / "run.json").read_text()) for s in seeds}
    summaries = {name: read_summary(folder / name) for name in runs}
    every = list(summaries.values())
    first = every[0].strategies
    sources = sorted(first["pooled"].central_by_source)
    unseen = ["unseen"] if first["pooled"].unseen else []
    federated = [name for name in first if name not in ("local", "pooled")]
    wheres = ["central", *sources, *unseen, "mean_site", "worst_site"]
    record = next(iter(runs.values()))
    # The seconds of a resumed run are those of its last part only.
    seconds = [run["seconds"]["training"] for run in runs.values() if not run["resumed"]]
    return [
        f"`{' '.join(['python', 'run_sim.py', *_flags(folder)])}`",
        "",
        f"Seeds {', '.join(map(str, seeds))}; the seed decides the partition, the initial weights "
        "and the order of training. Mean (lowest to highest seed). "
        f"{record['machine']['cores']} cores, torch {record['versions']['torch']}; all trainings "
        f"of one seed took {', '.join(f'{s:.0f} s' for s in seconds)} (of {len(seconds)} seeds "
        "that were not resumed).",
        "",
        *side_by_side(every, wheres),
        "",
        *[against_pooled(every, name, sources) for name in federated],
        "",
        "Paired differences with 95% intervals by bootstrap over patients:",
        "",
        *intervals(summaries, federated),
    ]


def _flags(folder: Path) -> list[str]:
    """The flags of the command that made the run, without the folders of one machine."""
    words = iter(json.loads((folder / "run.json").read_text())["command"][1:])
    kept = []
    for word in words:
        if word in ("--data-dir", "--out", "--name", "--cache-dir"):
            next(words, None)
        else:
            kept.append(word)
    return kept


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, help="parent of seed-*/")
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    text = "\n".join(report(options.run))
    print(text)
    put_between_marks(options.results, "compare", text)


if __name__ == "__main__":
    main()
