"""Validation after each round, from the counts that sites sent: figures, rule, best round."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.tasks import Task
from fl.evaluation.decisions.decision_rule import DecisionRule, choose_rule
from fl.evaluation.decisions.score_histograms import (
    confusion_counts,
    confusion_f1s,
    empty_histograms,
    histogram_aurocs,
)
from fl.evaluation.decisions.thresholds import MIN_POSITIVES
from fl.evaluation.metrics import mean_of
from fl.messages.payloads import EvaluationReply, SourceValidation
from fl.runs.history_tables import SiteRow
from fl.training.state_dict import Weights
from partitions.splits import VAL
from server.rounds.checkpoints import TrainingProgress

# What the best round is chosen by. A measure of ranking is too coarse on a few patients: many
# rounds have the same one. Then the loss decides.
MACRO_F1, MACRO_AUROC, LOSS = "macro_f1", "macro_auroc", "loss"
CRITERIA = (MACRO_F1, MACRO_AUROC, LOSS)  # the first that can be measured
MIN_SELECTION_PATIENTS = 30  # in validation; with fewer the loss decides


@dataclass(frozen=True)
class Selection:
    """How good a round is: by which measure, and its value; higher is better."""

    by: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What the sites' validation of some weights says."""

    figures: dict[str, Any]  # their part of a line of rounds.csv
    site_rows: list[SiteRow]
    found: Selection | None  # None: nothing can be measured
    rule: DecisionRule  # how the weights decide


def validate_round(
    task: Task, strategy: str, progress: TrainingProgress, evaluated: Sequence[EvaluationReply]
) -> dict[str, Any]:
    """Validation of a round: sites.csv's lines, its part of rounds.csv's, the best round so far."""
    validation = measure_validation(task, strategy, progress.round, evaluated)
    progress.site_rows += validation.site_rows
    choose_if_best(progress, validation, progress.weights)
    return validation.figures


def choose_if_best(
    progress: TrainingProgress, validation: Validation, weights: Weights, averaged: int = 0
) -> None:
    """Choose weights of the last round, or the mean of `averaged` rounds, if none are better."""
    found = validation.found
    if _is_best(found, progress):
        progress.best_by, progress.best_score = (found.by, found.score) if found else ("", 0.0)
        progress.best_round, progress.averaged = progress.round, averaged
        progress.best_weights, progress.rule = dict(weights), validation.rule


def measure_validation(
    task: Task, strategy: str, number: int, evaluated: Sequence[EvaluationReply]
) -> Validation:
    """Figures of weights of a round, from the sums that sites sent; each patient counts once.

    The macro-F1 of validation uses thresholds chosen on the same records, so it flatters; test
    never does.
    """
    classes = len(task.classes)
    by_source = sum_sources(evaluated, classes)
    rule = choose_rule({source: total.scores for source, total in by_source.items()}, task)
    confusion = np.zeros((classes, 4), dtype=np.int64)
    site_rows = []
    for reply in evaluated:
        at_site = _confusion(reply.by_source, rule, task)
        confusion += at_site
        site_rows.append(_site_row(task, strategy, number, reply, at_site))
    loss = mean_loss([(reply.loss_sum, reply.n_patients) for reply in evaluated])
    figures = {
        "strategy": strategy,
        "round": number,
        "val_loss": loss,
        "val_macro_f1": mean_of(confusion_f1s(confusion)),
        "val_macro_auroc": _macro_auroc(by_source, task),
    }
    found = selection_score(task, by_source, confusion, loss)
    return Validation(figures=figures, site_rows=site_rows, found=found, rule=rule)


def _is_best(found: Selection | None, progress: TrainingProgress) -> bool:
    """Whether the round is the best so far; of equally good rounds it is the last.

    The first round is taken even where validation can measure nothing. A round that misses the
    patients of a site may be measured in another way than the others: the stronger measure wins.
    """
    if progress.best_round == 0 or (found is not None and not progress.best_by):
        return True
    if found is None:
        return False
    if found.by != progress.best_by:
        return CRITERIA.index(found.by) < CRITERIA.index(progress.best_by)
    return found.score >= progress.best_score


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
    task: Task,
    by_source: Mapping[str, SourceValidation],
    confusion: NDArray[np.int64],
    loss: float | None,
) -> Selection | None:
    """What the best round is chosen by, over the classes that the task trains on.

    One class per example: macro-F1 at the thresholds, over the classes that have one. A ranking of
    beats is nearly perfect in every round; what differs is how many of the rare ones are found
    among how many false ones. The class `otherwise` is left out, because its F1 is always near 1.
    Any number of classes: macro-AUROC, averaged over the sources by their patients. With fewer
    than MIN_SELECTION_PATIENTS patients, or no class with MIN_POSITIVES patients in any source, it
    is the loss; for one class per example, where no class has both a positive and a negative.
    """
    found = _macro_f1(confusion) if task.exclusive else _ranking(task, by_source)
    if found is not None:
        return found
    return None if loss is None else Selection(LOSS, -loss)


def _macro_f1(confusion: NDArray[np.int64]) -> Selection | None:
    value = mean_of(confusion_f1s(confusion))
    return None if value is None else Selection(MACRO_F1, value)


def _ranking(task: Task, by_source: Mapping[str, SourceValidation]) -> Selection | None:
    total, weight = 0.0, 0
    for validation in by_source.values():
        shown = validation.scores.patients[:, 0]
        aurocs = histogram_aurocs(validation.scores)
        value = mean_of([aurocs[c] for c in _trainable(task) if shown[c] >= MIN_POSITIVES])
        if value is not None:
            total += value * validation.n_patients
            weight += validation.n_patients
    enough = weight >= MIN_SELECTION_PATIENTS
    return Selection(MACRO_AUROC, total / weight) if enough else None


def _trainable(task: Task) -> list[int]:
    """Columns of the classes that training uses: one that cannot be learnt chooses by chance."""
    return [task.classes.index(c) for c in task.trainable]


def mean_loss(parts: Sequence[tuple[float, int]]) -> float | None:
    """Mean of (sum of losses, number of patients or records) pairs; None without any."""
    n = sum(count for _, count in parts)
    return math.fsum(loss for loss, _ in parts) / n if n else None


def _site_row(
    task: Task,
    strategy: str,
    round_number: int,
    reply: EvaluationReply,
    confusion: NDArray[np.int64],
) -> SiteRow:
    """A site's line of sites.csv for its validation records."""
    return SiteRow(
        strategy=strategy,
        round=round_number,
        site=reply.site,
        split=VAL,
        n_records=reply.n_records,
        loss=mean_loss([(reply.loss_sum, reply.n_patients)]),
        macro_f1=mean_of(confusion_f1s(confusion)),
        macro_auroc=_macro_auroc(reply.by_source, task),
    )


def _confusion(
    by_source: Mapping[str, SourceValidation], rule: DecisionRule, task: Task
) -> NDArray[np.int64]:
    """Counts as of `confusion_counts`, each source decided by its own thresholds.

    A histogram has one class, so that a class which excludes others does not do so here: an
    example above two thresholds is counted as both. A class without a threshold has no counts.
    """
    total = np.zeros((len(task.classes), 4), dtype=np.int64)
    for source, validation in by_source.items():
        chosen = rule.raw_thresholds(source, task.classes)
        total += confusion_counts(validation.scores, chosen)
    return total


def _macro_auroc(by_source: Mapping[str, SourceValidation], task: Task) -> float | None:
    """Of the scores of all sources together, over the classes that the task trains on."""
    none = empty_histograms(len(task.classes))
    aurocs = histogram_aurocs(sum((source.scores for source in by_source.values()), start=none))
    return mean_of([aurocs[c] for c in _trainable(task)])
