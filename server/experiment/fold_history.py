"""rounds.csv and sites.csv of a run over folds, from those of its folds."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from fl.evaluation.metrics import mean_of
from fl.runs.history_tables import RoundRow, SiteRow, read_rounds, read_sites
from fl.runs.results import RunSummary
from partitions.splits import TEST
from server.baselines.baseline_summary import mean_round

Row = TypeVar("Row", RoundRow, SiteRow)
NO_ROUND = 0  # of a test of all folds together, since each fold has its own best round


def merged_rounds(folders: Sequence[Path]) -> list[RoundRow]:
    """A line for each round of each training: sums over the folds, and means of what is no sum."""
    # The tables do not say how many records are behind a loss, so every fold counts the same.
    rows = [replace(row, n_train=1, n_val=1) for f in folders for row in read_rounds(f)]
    return [
        mean_round(same)
        for same in _alike(rows, lambda row: (row.strategy, row.round, row.averaged))
    ]


def merged_site_rows(folders: Sequence[Path], summary: RunSummary) -> list[SiteRow]:
    """A line for each validation of a site, the mean over the folds, and for its whole test."""
    rows = [
        replace(row, round=NO_ROUND) if row.split == TEST else row
        for folder in folders
        for row in read_sites(folder)
    ]
    return [
        _site_row(same, summary)
        for same in _alike(rows, lambda row: (row.strategy, row.round, row.site, row.split))
    ]


def _site_row(rows: Sequence[SiteRow], summary: RunSummary) -> SiteRow:
    """The rows of several folds as one; a test has the measures of all folds together."""
    first = rows[0]
    merged = replace(
        first,
        n_records=sum(row.n_records for row in rows),
        loss=mean_of([row.loss for row in rows]),  # folds have equally many patients
        macro_f1=mean_of([row.macro_f1 for row in rows]),
        macro_auroc=mean_of([row.macro_auroc for row in rows]),
    )
    found = summary.strategies[first.strategy].sites.get(first.site)
    if first.split != TEST or found is None:
        return merged
    f1, auroc = found.macro_f1.value, found.macro_auroc.value
    return replace(merged, macro_f1=f1, macro_auroc=auroc)


def _alike(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Rows with the same key together, training by training, in the order of first appearance."""
    groups: dict[str, dict[Hashable, list[Row]]] = {}
    for row in rows:
        groups.setdefault(row.strategy, {}).setdefault(key(row), []).append(row)
    return [same for of_training in groups.values() for same in of_training.values()]
