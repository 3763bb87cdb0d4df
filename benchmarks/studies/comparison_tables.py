"""A finished comparison over several seeds as tables for docs/results.md.

    python run_sim.py --clients 8 --compare fedavg,fedprox,scaffold --holdout ptbxl \
        --seeds 10,11,12 --rounds 15 --name whole
    python -m benchmarks.studies.comparison_tables runs/whole [--results docs/results.md]
    python run_sim.py ... --site-folds 3 --name folds
    python -m benchmarks.studies.comparison_tables runs/folds --sites

With --sites it is what hospitals gain, from a run in which every patient of a site was tested once.
Several folders are read as one run of all their seeds, if their commands differ in nothing else.
Every figure is read from the run directories.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.results_store import put_between_marks
from fl.config.run_config import LOCAL, NOT_FEDERATED, POOLED, POOLED_PERSONAL
from fl.config.strategy_traits import strategy_traits
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.margins import MARGINS
from fl.evaluation.predictions import read_predictions
from fl.evaluation.seed_summary import figures_of
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.reports.number_format import number
from fl.runs.results import RunSummary, read_seeds, read_summary
from fl.util.errors import ConfigError
from partitions.partition import UNSEEN

NO_SETTINGS = ("seed", "seeds", "workers", "data_dir")  # shown, or without any effect
METRICS = {"macro_auroc": "macro-AUROC", "macro_f1": "macro-F1"}
# Written before the runs: on records of a source that nobody trained on, a class is predicted at
# most at this multiple of its prevalence and this much more; and pooled training's macro-F1 there.
MOST_TIMES, MOST_MORE, UNSEEN_F1 = 2.0, 0.05, 0.42


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


def sites_above_lines(summaries: Sequence[RunSummary]) -> list[str]:
    """At how many sites each training is above another, over all seeds."""
    found: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for summary in summaries:
        for row in summary.comparison.sites_above if summary.comparison else ():
            key = (row.strategy, row.against, row.metric)
            found.setdefault(key, []).append((row.n_above, row.n_sites))
    lines = [
        "| training | against | measure | sites above, each seed |",
        "| --- | --- | --- | --- |",
    ]
    for (strategy, against, metric), counts in found.items():
        each = ", ".join(f"{above} of {n}" for above, n in counts)
        lines.append(f"| {strategy} | {against} | {METRICS[metric]} | {each} |")
    return lines


@dataclass(frozen=True)
class ClassOnUnseen:
    """How one model decides on one class of the unseen records; each patient counts once."""

    prevalence: float
    predicted: float

    @property
    def within(self) -> bool:
        """Whether the class is predicted at most as often as was allowed before the run."""
        return self.predicted <= MOST_TIMES * self.prevalence + MOST_MORE


def on_unseen(folder: Path, summary: RunSummary, strategy: str) -> dict[str, list[ClassOnUnseen]]:
    """Each class as each model of a training decides it: one for each fold."""
    lines = read_predictions(folder / "predictions.csv", summary.classes).of(strategy, UNSEEN)
    found: dict[str, list[ClassOnUnseen]] = {}
    for fold in np.unique(lines.fold).tolist():
        part = lines.take(lines.fold == fold)
        patient = np.unique(part.patient, return_inverse=True)[1]
        weight = 1 / np.bincount(patient)[patient]
        for c, name in enumerate(part.classes):
            known = part.labels[:, c] >= 0
            if known.any():
                total = weight[known].sum()
                shares = [
                    float((weight * of)[known].sum() / total)
                    for of in (part.labels[:, c] == 1, part.decided[:, c])
                ]
                found.setdefault(name, []).append(ClassOnUnseen(*shares))
    return found


def decisions_on_unseen(
    runs: Mapping[Path, RunSummary], strategies: Sequence[str]
) -> tuple[list[str], bool]:
    """The table of decisions on the unseen source, and whether every class is within its limit."""
    lines = [
        "| training | class | prevalence | predicted: mean (lowest to highest model) | at most | "
        "F1 | AUROC | precision | sensitivity | specificity | NPV |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    within = True
    for strategy in strategies:
        by_run = [on_unseen(folder, summary, strategy) for folder, summary in runs.items()]
        for name in by_run[0]:
            models = [model for found in by_run for model in found[name]]
            prevalence, share = models[0].prevalence, [m.predicted for m in models]
            within = within and all(model.within for model in models)
            limit = MOST_TIMES * prevalence + MOST_MORE
            lines.append(
                f"| {strategy} | {name} | {number(prevalence)} | {cell(share)} | {number(limit)} | "
                + " | ".join(
                    _class_cells([s.strategies[strategy].unseen for s in runs.values()], name)
                )
                + " |"
            )
    return lines, within


DECISION_MEASURES = ("f1", "auroc", "precision", "recall", "specificity", "npv")
CALIBRATION_MEASURES = ("calibration_slope", "calibration_intercept", "brier_skill", "ece")


def _class_cells(
    groups: Sequence[GroupMeasures | None],
    name: str,
    measures: Sequence[str] = DECISION_MEASURES,
) -> list[str]:
    """The mean over the seeds of each measure of a class."""
    known = [group.classes[name] for group in groups if group]
    return [_mean([getattr(one, measure) for one in known]) for measure in measures]


def _mean(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return number(np.mean(known)) if known else "n/a"


def class_tables(
    summaries: Sequence[RunSummary], strategy: str, wheres: Sequence[str]
) -> list[str]:
    """Decisions and calibration of each class, by source of the central records, and unseen."""
    lines = [
        "| records | class | patients with it, each seed | F1 | AUROC | precision | sensitivity | "
        "specificity | NPV | calibration slope | intercept | Brier skill | ECE |",
        f"|{' --- |' * 13}",
    ]
    for where in wheres:
        groups = [
            s.strategies[strategy].unseen
            if where == UNSEEN
            else s.strategies[strategy].central_by_source.get(where)
            for s in summaries
        ]
        for name in summaries[0].classes:
            known = [group.classes[name] for group in groups if group]
            if any(one.positive_patients for one in known):
                people = ", ".join(str(one.positive_patients) for one in known)
                cells = _class_cells(groups, name, (*DECISION_MEASURES, *CALIBRATION_MEASURES))
                lines.append(f"| {where} | {name} | {people} | {' | '.join(cells)} |")
    return lines


def intervals(
    summaries: Mapping[str, RunSummary], strategies: Sequence[str], wheres: Sequence[str]
) -> list[str]:
    """Paired differences on these groups, for each seed."""
    lines = ["| difference | where | measure | each seed |", "| --- | --- | --- | --- |"]
    wanted = [
        (d.strategy, d.against, d.where, d.metric)
        for d in differences_of(next(iter(summaries.values())))
        if d.strategy in strategies and d.where in wheres
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
            shown = {True: ", non-inferior", False: ", not shown", None: ""}[d.non_inferior]
            return f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]{shown}"
    return "n/a"


def differences_of(summary: RunSummary) -> Sequence[ComparisonRow]:
    """Every difference of a run; none without --compare."""
    return summary.comparison.differences if summary.comparison else ()


def seed_folders(parents: Sequence[Path]) -> dict[int, Path]:
    """The run directory of each seed; `ConfigError` unless all were made with the same settings."""
    found: dict[int, Path] = {}
    for parent in parents:
        for seed in read_seeds(parent).seeds:
            if seed in found:
                raise ConfigError(f"{parent}: seed {seed} is in {found[seed].parent} too.")
            found[seed] = parent / f"seed-{seed}"
    first, *others = (_settings(path) for path in found.values())
    for path, other in zip(list(found.values())[1:], others, strict=True):
        if other != first:
            names = sorted(name for name in first | other if first.get(name) != other.get(name))
            raise ConfigError(f"{path}: {', '.join(names)} differ from those of the first run.")
    return dict(sorted(found.items()))


def _settings(folder: Path) -> dict[str, Any]:
    """What decides the results of a run beside its seed."""
    config: dict[str, Any] = json.loads((folder / "run.json").read_text())["config"]
    return {name: value for name, value in config.items() if name not in NO_SETTINGS}


def report(parents: Sequence[Path]) -> list[str]:
    """All tables of folders of seed-*/ run directories."""
    by_seed = seed_folders(parents)
    seeds, folders = list(by_seed), list(by_seed.values())
    runs = {path: read_summary(path) for path in folders}
    # On records of no site a strategy whose sites make models of their own is the one it trains as.
    every = [_without_own_models(summary) for summary in runs.values()]
    runs = dict(zip(runs, every, strict=True))
    first = every[0].strategies
    sources = sorted(first[POOLED].central_by_source)
    unseen = [UNSEEN] if first[POOLED].unseen else []
    federated = [name for name in first if name not in (LOCAL, POOLED)]
    wheres = ["central", *sources, *unseen]
    decided, within = decisions_on_unseen(runs, [POOLED, *federated])
    return [
        *head(parents, seeds, folders),
        "",
        *side_by_side(every, wheres),
        "",
        f"Paired differences with 95% intervals by bootstrap over patients. Margins written before "
        f"the runs: {MARGINS['macro_auroc']} in macro-AUROC, {MARGINS['macro_f1']} in macro-F1, "
        "against pooled training.",
        "",
        *intervals(
            {path.name: summary for path, summary in runs.items()}, federated, ("central", UNSEEN)
        ),
        "",
        f"Decisions on the unseen source, each patient counting once. Limit written before the "
        f"runs: {MOST_TIMES:g} times the prevalence plus {MOST_MORE:g}; "
        f"{'every class of every model is within it' if within else 'NOT every class is within it'}"
        f". Pooled training's macro-F1 there: {_unseen_f1(every)}.",
        "",
        *decided,
        "",
        f"Each class at the decision, {federated[0]}, mean over the seeds:",
        "",
        *class_tables(every, federated[0], [*sources, *unseen]),
    ]


def _without_own_models(summary: RunSummary) -> RunSummary:
    kept = {
        name: found
        for name, found in summary.strategies.items()
        if name != POOLED_PERSONAL and not strategy_traits(name).own_models
    }
    return summary.model_copy(update={"strategies": kept})


def report_sites(parents: Sequence[Path]) -> list[str]:
    """What hospitals gain: tables of folders of seed-*/ run directories with folds."""
    by_seed = seed_folders(parents)
    seeds, folders = list(by_seed), list(by_seed.values())
    runs = {path.name: read_summary(path) for path in folders}
    every = list(runs.values())
    federated = [name for name in every[0].strategies if name not in NOT_FEDERATED]
    return [
        *head(parents, seeds, folders),
        "",
        *side_by_side(every, ["mean_site", "worst_site"]),
        "",
        *intervals(runs, [POOLED, POOLED_PERSONAL, *federated], ["mean_site"]),
        "",
        *sites_above_lines(every),
        "",
        *(line for name in federated if _is_shown(name, federated) for line in _each(runs, name)),
    ]


def _is_shown(name: str, federated: Sequence[str]) -> bool:
    """The first strategy, and those whose hospitals have models of their own."""
    return name == federated[0] or strategy_traits(name).own_models


def _each(runs: Mapping[str, RunSummary], strategy: str) -> list[str]:
    return [
        f"Each hospital, macro-F1 of {strategy} minus local training; bold: evidence after "
        "Holm's correction for the number of hospitals.",
        "",
        *each_site(runs, strategy),
        "",
    ]


def each_site(runs: Mapping[str, RunSummary], strategy: str) -> list[str]:
    """Each hospital's paired difference from local training, for each seed."""
    lines = ["| seed | hospital | patients | difference |", "| --- | --- | --- | --- |"]
    for name, summary in runs.items():
        for row in differences_of(summary):
            if row.site and (row.strategy, row.against, row.metric) == (
                strategy,
                LOCAL,
                "macro_f1",
            ):
                cell_text = _interval(summary, (strategy, LOCAL, row.where, "macro_f1"))
                strong = f"**{cell_text}**" if row.significant_adjusted else cell_text
                lines.append(
                    f"| {name.removeprefix('seed-')} | {row.site} | {row.n_patients} | {strong} |"
                )
    return lines


def _unseen_f1(summaries: Sequence[RunSummary]) -> str:
    values = [at(summary, POOLED, UNSEEN, "macro_f1") for summary in summaries]
    known = [value for value in values if value is not None]
    reached = bool(known) and np.mean(known) >= UNSEEN_F1
    verdict = "reached" if reached else "missed"
    return f"{cell(values)}; at least {number(UNSEEN_F1)} was wanted: {verdict}"


def head(parents: Sequence[Path], seeds: Sequence[int], folders: Sequence[Path]) -> list[str]:
    """The command, and what it ran on."""
    records = [json.loads((path / "run.json").read_text()) for path in folders]
    folds = records[0].get("site_folds")
    tested = (
        f"Every patient of a site is tested once, in {folds} folds; figures on records of no site "
        "are means over the folds' models. "
        if folds
        else ""
    )
    return [
        f"`{' '.join(['python', 'run_sim.py', *_flags(parents[0], seeds)])}`",
        "",
        f"Seeds {', '.join(map(str, seeds))}; the seed decides the partition, the initial weights "
        f"and the order of training. Mean (lowest to highest seed). {tested}"
        f"{records[0]['machine']['cores']} cores, torch {records[0]['versions']['torch']}.",
    ]


def _flags(folder: Path, seeds: Sequence[int]) -> list[str]:
    """The flags of the command that makes all seeds, without the folders of one machine."""
    words = iter(json.loads((folder / "run.json").read_text())["command"][1:])
    kept = []
    for word in words:
        if word in ("--data-dir", "--out", "--name", "--cache-dir", "--workers"):
            next(words, None)
        elif word == "--seeds":
            next(words, None)
            kept += [word, ",".join(map(str, seeds))]
        elif word not in ("--quiet", "--no-pages"):
            kept.append(word)
    return kept


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, nargs="+", help="parents of seed-*/")
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--sites", action="store_true", help="what hospitals gain, over folds")
    parser.add_argument("--name", default="", help="of the marks [sites or compare]")
    options = parser.parse_args()
    text = "\n".join((report_sites if options.sites else report)(options.run))
    print(text)
    put_between_marks(
        options.results, options.name or ("sites" if options.sites else "compare"), text
    )


if __name__ == "__main__":
    main()
