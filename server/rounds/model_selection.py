"""Validation after each round, from the counts that sites sent: figures, thresholds, best round."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fl.ecg.tasks import Task
from fl.evaluation.metrics import mean_of
from fl.evaluation.score_histograms import (
    ScoreHistograms,
    confusion_counts,
    confusion_f1s,
    empty_histograms,
    histogram_aurocs,
)
from fl.evaluation.thresholds import choose_thresholds
from fl.messages.payloads import EvaluationReply
from fl.runs.history_tables import SiteRow
from partitions.splits import VAL
from server.rounds.checkpoints import Row, TrainingProgress


def validate_round(
    task: Task, strategy: str, progress: TrainingProgress, evaluated: Sequence[EvaluationReply]
) -> Row:
    """Validation of a round: its lines for sites.csv and rounds.csv, and the best round so far.

    Everything comes from counts that sites sent. The macro-F1 of validation uses thresholds
    chosen on the same records, so it flatters; test never does.
    """
    by_source: dict[str, ScoreHistograms] = {}
    for e in evaluated:
        known = by_source.get(e.source, empty_histograms(len(task.classes)))
        by_source[e.source] = known + e.tally
    thresholds = None if task.exclusive else choose_thresholds(by_source, task.classes)
    counts = np.zeros((len(task.classes), 4), dtype=np.int64)
    for e in evaluated:
        row = None if thresholds is None else list(thresholds[e.source].values())
        here = confusion_counts(e.tally, row)
        counts += here
        progress.sites.append(
            SiteRow(
                strategy=strategy,
                round=progress.round,
                site=e.site,
                split=VAL,
                n_records=e.n_records,
                loss=mean_loss([(e.loss_sum, e.n_records)]),
                macro_f1=mean_of(confusion_f1s(here)),
                macro_auroc=mean_of(histogram_aurocs(e.tally)),
            )
        )
    pooled = sum(by_source.values(), start=empty_histograms(len(task.classes)))
    now = selection_score(by_source, evaluated, [task.classes.index(c) for c in task.trainable])
    # The first round is taken even where validation can measure nothing.
    if progress.best_round == 0 or (now is not None and now > progress.best_score):
        progress.best_score = -1.0 if now is None else now
        progress.best_round = progress.round
        progress.best_weights, progress.thresholds = dict(progress.weights), thresholds
    return {
        "strategy": strategy,
        "round": progress.round,
        "val_loss": mean_loss([(e.loss_sum, e.n_records) for e in evaluated]),
        "val_macro_f1": mean_of(confusion_f1s(counts)),
        "val_macro_auroc": mean_of(histogram_aurocs(pooled)),
    }


def selection_score(
    by_source: Mapping[str, ScoreHistograms],
    evaluated: Sequence[EvaluationReply],
    trainable: Sequence[int],
) -> float | None:
    """What the best round is chosen by: validation macro-AUROC, averaged over the sources.

    Over the classes in `taught` alone: one that cannot be learnt would choose by chance.
    Each source counts by its patients: by its records, the hundreds of windows of a handful
    of Holter patients would decide alone; evenly, the chance of who those few are would.
    """
    total, weight = 0.0, 0
    for source, tally in by_source.items():
        aurocs = histogram_aurocs(tally)
        value = mean_of([aurocs[c] for c in trainable])
        patients = sum(e.n_patients for e in evaluated if e.source == source)
        if value is not None:
            total, weight = total + value * patients, weight + patients
    return total / weight if weight else None


def mean_loss(parts: Sequence[tuple[float, int]]) -> float | None:
    """Mean over records of (sum of losses, records) pairs; None without a record."""
    n = sum(count for _, count in parts)
    return math.fsum(loss for loss, _ in parts) / n if n else None
