"""Validation after each round, from the counts that sites sent: figures, thresholds, best round."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.tasks import Task
from fl.evaluation.metrics import mean_of
from fl.evaluation.score_histograms import (
    ScoreHistograms,
    confusion_counts,
    confusion_f1s,
    empty_histograms,
    histogram_aurocs,
)
from fl.evaluation.thresholds import Thresholds, choose_thresholds
from fl.messages.payloads import EvaluationReply, SourceValidation
from fl.runs.history_tables import SiteRow
from partitions.splits import VAL
from server.rounds.checkpoints import TrainingProgress


def validate_round(
    task: Task, strategy: str, progress: TrainingProgress, evaluated: Sequence[EvaluationReply]
) -> dict[str, Any]:
    """Validation of a round: sites.csv's lines, its part of rounds.csv's, the best round so far.

    Everything comes from counts that sites sent. The macro-F1 of validation uses thresholds
    chosen on the same records, so it flatters; test never does.
    """
    classes = len(task.classes)
    by_source = sum_sources(evaluated, classes)
    scores = {source: total.scores for source, total in by_source.items()}
    thresholds = None if task.exclusive else choose_thresholds(scores, task.classes)
    confusion = np.zeros((classes, 4), dtype=np.int64)
    for reply in evaluated:
        at_site = _confusion(reply.by_source, thresholds, classes)
        confusion += at_site
        progress.site_rows.append(_site_row(strategy, progress.round, reply, at_site))
    score = selection_score(by_source, [task.classes.index(c) for c in task.trainable])
    # The first round is taken even where validation can measure nothing.
    if progress.best_round == 0 or (score is not None and score > progress.best_score):
        progress.best_score = -1.0 if score is None else score
        progress.best_round = progress.round
        progress.best_weights, progress.thresholds = dict(progress.weights), thresholds
    return {
        "strategy": strategy,
        "round": progress.round,
        "val_loss": mean_loss([(reply.loss_sum, reply.n_records) for reply in evaluated]),
        "val_macro_f1": mean_of(confusion_f1s(confusion)),
        "val_macro_auroc": mean_of(histogram_aurocs(_all_scores(by_source, classes))),
    }


def sum_sources(evaluated: Sequence[EvaluationReply], classes: int) -> dict[str, SourceValidation]:
    """Validation of each source, added over the sites."""
    total: dict[str, SourceValidation] = {}
    for reply in evaluated:
        for source, at_site in reply.by_source.items():
            before = total.get(
                source, SourceValidation(n_patients=0, scores=empty_histograms(classes))
            )
            total[source] = SourceValidation(
                n_patients=before.n_patients + at_site.n_patients,
                scores=before.scores + at_site.scores,
            )
    return total


def selection_score(
    by_source: Mapping[str, SourceValidation], trainable: Sequence[int]
) -> float | None:
    """What the best round is chosen by: validation macro-AUROC, averaged over the sources.

    Over the classes in `trainable` alone: one that cannot be learnt would choose by chance.
    Each source counts by its patients: by its records, the hundreds of windows of a handful
    of Holter patients would decide alone; evenly, the chance of who those few are would.
    """
    total, weight = 0.0, 0
    for validation in by_source.values():
        aurocs = histogram_aurocs(validation.scores)
        value = mean_of([aurocs[c] for c in trainable])
        if value is not None:
            total += value * validation.n_patients
            weight += validation.n_patients
    return total / weight if weight else None


def mean_loss(parts: Sequence[tuple[float, int]]) -> float | None:
    """Mean over records of (sum of losses, records) pairs; None without a record."""
    n = sum(count for _, count in parts)
    return math.fsum(loss for loss, _ in parts) / n if n else None


def _site_row(
    strategy: str, round_number: int, reply: EvaluationReply, confusion: NDArray[np.int64]
) -> SiteRow:
    """A site's line of sites.csv for its validation records."""
    scores = _all_scores(reply.by_source, len(confusion))
    return SiteRow(
        strategy=strategy,
        round=round_number,
        site=reply.site,
        split=VAL,
        n_records=reply.n_records,
        loss=mean_loss([(reply.loss_sum, reply.n_records)]),
        macro_f1=mean_of(confusion_f1s(confusion)),
        macro_auroc=mean_of(histogram_aurocs(scores)),
    )


def _confusion(
    by_source: Mapping[str, SourceValidation],
    thresholds: Mapping[str, Thresholds] | None,
    classes: int,
) -> NDArray[np.int64]:
    """Counts as of `confusion_counts`, each source decided by its own thresholds."""
    total = np.zeros((classes, 4), dtype=np.int64)
    for source, validation in by_source.items():
        chosen = None if thresholds is None else list(thresholds[source].values())
        total += confusion_counts(validation.scores, chosen)
    return total


def _all_scores(by_source: Mapping[str, SourceValidation], classes: int) -> ScoreHistograms:
    """The scores of all sources together."""
    return sum((source.scores for source in by_source.values()), start=empty_histograms(classes))
