"""What the runs over all folds of the sites' patients reached together, from their files."""

import csv
import io
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.config.run_config import RunConfig
from fl.ecg.tasks import TASKS
from fl.evaluation.group_evaluation import (
    GroupMeasures,
    evaluate_predictions,
    mean_over_models,
)
from fl.evaluation.predictions import Predictions, read_predictions, write_predictions
from fl.evaluation.strategy_comparison import comparison
from fl.runs.bounded_files import read_json
from fl.runs.history_tables import RoundRow, SiteRow, write_history_tables
from fl.runs.results import RunSummary, TrainingSummary, read_summary, write_summary
from fl.util.atomic_io import write_atomically
from partitions.folds import smaller_than_folds
from partitions.partition import CENTRAL, UNSEEN
from partitions.splits import TEST, TRAIN, VAL
from server.experiment.fold_history import merged_rounds, merged_site_rows
from server.experiment.prepare import PARTITION
from server.rounds.final_evaluation import ServerMeasures, mean_of_servers, training_summary


@dataclass(frozen=True, kw_only=True)
class MergedFolds:
    """All folds as one run: the content of its files."""

    summary: RunSummary
    predictions: Predictions
    rounds: list[RoundRow]
    site_rows: list[SiteRow]
    partition: list[list[str]]  # lines of partition.csv
    picture: Path  # partition.svg of a fold
    facts: dict[str, Any]  # for run.json

    def write(self, folder: Path) -> None:
        """The files of a completed run, but for run.json."""
        write_predictions(folder / "predictions.csv", self.predictions)
        write_history_tables(folder, self.rounds, self.site_rows)
        write_atomically(folder / PARTITION, _csv_text(self.partition).encode())
        shutil.copyfile(self.picture, folder / self.picture.name)
        write_summary(folder, self.summary)


def merge_folds(config: RunConfig, folders: Sequence[Path]) -> MergedFolds:
    """The completed runs of all folds as one, from the folds' directories in their order."""
    summaries = [read_summary(folder) for folder in folders]
    predictions = _joined_predictions(folders, summaries[0].classes)
    partition = _tested_partition(folders[0] / PARTITION)
    summary = merged_summary(config, summaries, predictions)
    records = [read_json(folder / "run.json") for folder in folders]
    return MergedFolds(
        summary=summary,
        predictions=predictions,
        rounds=merged_rounds(folders),
        site_rows=merged_site_rows(folders, summary),
        partition=partition,
        picture=folders[0] / "partition.svg",
        facts=_facts(config, records, summary)
        | {"untested": untested(partition, predictions, tuple(summary.strategies))},
    )


def _joined_predictions(folders: Sequence[Path], classes: Sequence[str]) -> Predictions:
    """The lines of every fold, marked with its number."""
    parts = [read_predictions(folder / "predictions.csv", classes) for folder in folders]
    return Predictions.joined([p.in_fold(str(k)) for k, p in enumerate(parts, 1)], classes)


def merged_summary(
    config: RunConfig, folds: Sequence[RunSummary], predictions: Predictions
) -> RunSummary:
    """summary.json of all folds; `predictions` are the lines of all of them."""
    at_sites = predictions.by_model_and_site()
    strategies = {
        name: _merged_training(
            [fold.strategies[name] for fold in folds],
            {
                site: at_sites[name, site]
                for strategy, site in at_sites
                if strategy == name and site not in (CENTRAL, UNSEEN)
            },
            config,
        )
        for name in folds[0].strategies
    }
    merged = folds[0].model_copy(update={"strategies": strategies, "comparison": None})
    if not config.compare:
        return merged
    compared = comparison(
        strategies,
        [predictions],
        config.seed,
        rounds=config.rounds,
        local_epochs=config.local_epochs,
        averaged=TASKS[config.task].trainable,
    )
    return merged.model_copy(update={"comparison": compared})


def _merged_training(
    folds: Sequence[TrainingSummary], at_sites: Mapping[str, Predictions], config: RunConfig
) -> TrainingSummary:
    """One training's entry: its sites over all folds as one, all else the mean over its models."""
    server = mean_of_servers(
        [
            ServerMeasures(
                central=fold.central,
                unseen=fold.unseen,
                central_by_source=fold.central_by_source,
            )
            for fold in folds
        ]
    )
    averaged = TASKS[config.task].trainable
    sites = sorted({site for fold in folds for site in fold.sites})
    predicted = {site: at_sites.get(site) for site in sites}
    averaged_by_fold = {str(k): fold.averaged for k, fold in enumerate(folds, 1)}
    steps = [fold.gradient_steps for fold in folds if fold.gradient_steps is not None]
    return training_summary(
        server,
        {
            site: evaluate_predictions(lines, config.seed, averaged) if lines else None
            for site, lines in predicted.items()
        },
        thresholds=None,
        best_round=None,
        best_round_by_fold={str(k): fold.best_round for k, fold in enumerate(folds, 1)},
        **({"averaged_by_fold": averaged_by_fold} if any(averaged_by_fold.values()) else {}),
        central_by_site=_mean_by_site([fold.central_by_site for fold in folds]),
        unseen_by_site=_mean_by_site([fold.unseen_by_site for fold in folds]),
        rounds=max((fold.rounds for fold in folds if fold.rounds is not None), default=None),
        gradient_steps=sum(steps) if len(steps) == len(folds) else None,
        lr=folds[0].lr,
    )


def _mean_by_site(
    folds: Sequence[Mapping[str, GroupMeasures | None]],
) -> dict[str, GroupMeasures | None]:
    """Each site's own models on records of no site: the mean over the folds that have one."""
    models: dict[str, list[GroupMeasures]] = {site: [] for fold in folds for site in fold}
    for fold in folds:
        for site, measures in fold.items():
            models[site] += [measures] if measures else []
    return {site: mean_over_models(own) if own else None for site, own in models.items()}


def untested(
    partition: Sequence[Sequence[str]], predictions: Predictions, strategies: Iterable[str]
) -> dict[str, dict[str, int]]:
    """Strategy -> site -> patients of the site whom no model of that training was tested on.

    There are some where a site failed in a fold, or trains alone and has one patient.
    """
    people: dict[str, set[str]] = {}
    for _, _, patient, site, *_ in partition[1:]:
        people.setdefault(site, set()).add(patient)
    found = {
        name: {
            site: len(expected - set(predictions.of(name, site).patient.tolist()))
            for site, expected in sorted(people.items())
            if site not in (CENTRAL, UNSEEN)
        }
        for name in strategies
    }
    missing = {name: {s: n for s, n in sites.items() if n} for name, sites in found.items()}
    return {name: sites for name, sites in missing.items() if sites}


def _tested_partition(path: Path) -> list[list[str]]:
    """The lines of a fold's partition.csv with every record in the test set."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *lines = csv.reader(file)
    split = header.index("split")
    return [header, *([*line[:split], TEST, *line[split + 1 :]] for line in lines)]


def _csv_text(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _facts(
    config: RunConfig, records: Sequence[Mapping[str, Any]], summary: RunSummary
) -> dict[str, Any]:
    """What run.json of all folds says of the data, the sites and the trainings."""
    first = records[0]
    kept = ("data", "not_measurable_centrally", "non_iid", "devices")
    keys = ("rounds", "best_round", "gradient_steps", "lr")
    seconds = {kind: sum(r["seconds"].get(kind, 0) for r in records) for kind in first["seconds"]}
    return {
        **{name: first[name] for name in kept},
        "sites": [_tested_row(row) for row in first["sites"]],
        "smaller_than_folds": smaller_than_folds(first["sites"], config.site_folds),
        "seconds": {kind: round(taken, 3) for kind, taken in seconds.items()},
        "failures": [
            {**failure, "reason": f"fold {k}: {failure['reason']}"}
            for k, record in enumerate(records, 1)
            for failure in record["failures"]
        ],
        "trainings": {
            name: {key: getattr(training, key) for key in keys}
            for name, training in summary.strategies.items()
        },
    }


def _tested_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A fold's row of a site, as all folds have it."""
    total = sum(row[split] for split in (TRAIN, VAL, TEST))
    return {**row, TRAIN: 0, VAL: 0, TEST: total}
