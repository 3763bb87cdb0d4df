"""A finished comparison of beat trainings over several seeds as tables for docs/results.md.

    python run_sim.py --task beat --clients 8 --compare fedavg --seeds 10,11,12 --name beats
    python -m benchmarks.studies.beat.federated_tables runs/beats --marks beat-federation
    python run_sim.py --task beat --clients 8 --compare fedavg --seeds 10,11,12 --site-folds 0 \
        --sources svdb --holdout mitdb --name to-mitdb
    python -m benchmarks.studies.beat.federated_tables runs/to-mitdb --marks beat-to-mitdb

Every figure is read from the run directory. `--marks` names the marks between which docs/results.md
has the tables.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.results_store import put_between_marks
from benchmarks.studies.comparison_tables import (
    cell,
    each_site,
    head,
    intervals,
    side_by_side,
    sites_above_lines,
)
from fl.config.run_config import LOCAL, POOLED
from fl.evaluation.ec57 import MACRO
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.margins import MARGINS
from fl.runs.results import RunSummary, read_seeds, read_summary
from partitions.partition import UNSEEN

CLASS_MEASURES = {"f1": "F1", "auprc": "AP", "recall": "sensitivity", "precision": "+P"}
BESIDE = ("F", "Q")  # reported, and in no macro average


def report(folder: Path) -> list[str]:
    """All tables of a folder of seed-*/ run directories."""
    seeds = read_seeds(folder).seeds
    folders = [folder / f"seed-{seed}" for seed in seeds]
    runs = {path.name: read_summary(path) for path in folders}
    every = list(runs.values())
    first = every[0].strategies
    federated = [name for name in first if name not in (LOCAL, POOLED)]
    groups = [*sorted(first[POOLED].central_by_source), *([UNSEEN] if first[POOLED].unseen else [])]
    with_sites = any(s.strategies[POOLED].site_mean is not None for s in every)
    sites = ["mean_site", "worst_site"] if with_sites else []
    lines = [
        *head(folder, seeds, folders),
        "",
        *side_by_side(every, [*sites, "central", *groups]),
        "",
        "Paired differences with 95% intervals by bootstrap over patients. Margins written before "
        f"the runs: {MARGINS['macro_auroc']} in macro-AUROC, {MARGINS['macro_f1']} in macro-F1, "
        "against pooled training.",
        "",
        *intervals(runs, [POOLED, *federated], [*sites[:1], "central", UNSEEN]),
        "",
        "Each class by the answers, all beats of a group together: mean (lowest to highest seed). "
        "AP is the average precision of the calibrated probabilities.",
        "",
        *class_lines(every, groups),
    ]
    if with_sites:
        lines += [
            "",
            *sites_above_lines(every),
            "",
            f"Each hospital, macro-F1 of {federated[0]} minus local training; bold: evidence after "
            "Holm's correction for the number of hospitals.",
            "",
            *each_site(runs, federated[0]),
        ]
    return lines


def class_lines(summaries: Sequence[RunSummary], groups: Sequence[str]) -> list[str]:
    """F1, average precision, sensitivity and +P of each class, training and group."""
    lines = [
        f"| records | class | training | {' | '.join(CLASS_MEASURES.values())} |",
        f"| --- | --- | --- |{' --- |' * len(CLASS_MEASURES)}",
    ]
    for group in groups:
        for name in (*MACRO, *BESIDE):
            for strategy in summaries[0].strategies:
                found = [_group(summary, strategy, group) for summary in summaries]
                classes = [measures.classes[name] for measures in found if measures]
                cells = [cell([getattr(one, m) for one in classes]) for m in CLASS_MEASURES]
                lines.append(f"| {group} | {name} | {strategy} | {' | '.join(cells)} |")
    return lines


def _group(summary: RunSummary, strategy: str, group: str) -> GroupMeasures | None:
    training = summary.strategies[strategy]
    return training.unseen if group == UNSEEN else training.central_by_source.get(group)


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, help="parent of seed-*/")
    parser.add_argument("--marks", required=True, help="name of the marks in --results")
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    text = "\n".join(report(options.run))
    print(text)
    put_between_marks(options.results, options.marks, text)


if __name__ == "__main__":
    main()
