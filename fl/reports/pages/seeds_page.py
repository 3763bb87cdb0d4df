"""The page over several seeds, and the page that puts several runs side by side."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fl.evaluation.paired_bootstrap import METRICS
from fl.evaluation.seed_summary import SeedSummary
from fl.evaluation.strategy_names import strategy_name
from fl.reports.figures import federation_charts
from fl.reports.figures.gain_chart import gain_chart
from fl.reports.figures.svg import Drawing, legend
from fl.reports.pages.first_answer import seeds_answer
from fl.reports.pages.glossary import GLOSSARY
from fl.reports.pages.sentences import place
from fl.reports.run_files import Run
from fl.reports.templates import render
from fl.reports.terminal.notices import simulated_note

ORDER = ("central", "mean_site", "unseen")


def seeds_page(folder: Path, seeds: SeedSummary, runs: Sequence[Run]) -> str:
    """report/index.html of a run that was repeated over seeds."""
    first = runs[0]
    order = tuple(seeds.strategies)
    return render(
        "seeds.html",
        title=f"HeartFed: {folder.resolve().name}, {len(runs)} seeds",
        name=folder.resolve().name,
        synthetic=first.synthetic,
        simulated_note=simulated_note(first.simulated_rare),
        seeds=seeds.seeds,
        answer=seeds_answer(seeds, first.main, str(first.config.get("holdout") or "")),
        main=first.main,
        gain=gain_chart(seeds.differences, first.main, order),
        legend=legend(order, ()),
        glossary=GLOSSARY,
        rows=spread_rows(seeds),
        differences=difference_rows(seeds),
        pictures=_pictures(seeds),
        runs=[(f"seed-{seed}", run) for seed, run in zip(seeds.seeds, runs, strict=True)],
        first=first,
    )


def spread_rows(seeds: SeedSummary) -> list[dict[str, Any]]:
    """Mean and spread of each strategy, place and measure."""
    return [
        entry.to_json()
        | {"strategy": name, "where": where, "place": place(where)}
        | {"metric": metric, "name": METRICS.get(metric, metric)}
        for name, places in seeds.strategies.items()
        for where in sorted(places, key=_rank)
        if where != "worst_site"
        for metric, entry in places[where].items()
    ]


def _rank(where: str) -> tuple[int, str]:
    return (ORDER.index(where) if where in ORDER else len(ORDER), where)


def difference_rows(seeds: SeedSummary) -> list[dict[str, Any]]:
    """Differences over the seeds, and how many seeds have the same sign as the mean."""
    rows = []
    for row in seeds.differences:
        if row.where == "worst_site":
            continue
        values = [v for v in row.values if v is not None]
        agree = sum(v * row.mean > 0 for v in values) if row.mean is not None else 0
        texts = {"name": METRICS.get(row.metric, row.metric), "place": place(row.where)}
        rows.append(row.to_json() | texts | {"agree": agree, "known": len(values)})
    return rows


def _pictures(seeds: SeedSummary) -> list[Drawing]:
    drawn = []
    for where in ORDER:
        rows = [
            (name, places[where]["macro_f1"].values)
            for name, places in seeds.strategies.items()
            if "macro_f1" in places.get(where, {})
        ]
        label = f"macro-F1, {place(where)}"
        drawn.append(federation_charts.over_seeds(rows, f"seeds-{where}", label))
    return [drawing for drawing in drawn if drawing]


def runs_page(runs: Sequence[Run], out: Path) -> str:
    """The page that puts several runs side by side; links are relative to where it is written."""
    names = _names(runs)
    entries = [
        {"name": names[i], "run": run, "strategy": strategy, "result": result}
        for i, run in enumerate(runs)
        for strategy, result in run.strategies.items()
    ]
    return render(
        "beside.html",
        title=f"HeartFed: {len(runs)} runs side by side",
        synthetic=tuple(sorted({s for run in runs for s in run.synthetic})),
        simulated_note=simulated_note(max(run.simulated_rare for run in runs)),
        names=names,
        runs=[
            (name, run, os.path.relpath(run.folder / "report" / "index.html", out.parent))
            for name, run in zip(names, runs, strict=True)
        ],
        entries=entries,
        settings=differing(runs),
        legend=legend(list(dict.fromkeys(s for run in runs for s in run.strategies)), ()),
        pictures=[_beside(entries, metric) for metric in METRICS],
    )


def _names(runs: Sequence[Run]) -> list[str]:
    """Folder names; with the parent folder's name where two runs have the same."""
    short = [run.folder.resolve().name for run in runs]
    return [
        name if short.count(name) == 1 else "/".join(run.folder.resolve().parts[-2:])
        for name, run in zip(short, runs, strict=True)
    ]


def differing(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """Settings in which the runs differ."""
    keys = sorted({key for run in runs for key in run.config})
    rows = [(key, [run.config.get(key) for run in runs]) for key in keys]
    return [(key, values) for key, values in rows if any(v != values[0] for v in values)]


def _beside(entries: Sequence[dict[str, Any]], metric: str) -> Drawing | None:
    rows = [
        (
            f"{e['name']}: {strategy_name(e['strategy'])}",
            e["strategy"],
            e["result"].central.estimate(metric),
        )
        for e in entries
        if e["result"].central
    ]
    name = f"beside-{metric.replace('_', '-')}"
    label = f"{METRICS[metric]} on central test records"
    caption = f"{label[0].upper()}{label[1:]}. Lines are 95% intervals."
    return federation_charts.dots(rows, name, label, caption)
