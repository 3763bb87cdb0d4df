"""Validation after each round, from the counts that sites sent: figures, rule, best round."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.tasks import Task
from fl.evaluation.decisions.decision_rule import DecisionRule, choose_rule
from fl.evaluation.decisions.score_histograms import (
    confusion_counts,
    confusion_f1s,
    empty_histograms,
    stacked_aurocs,
    stacked_histograms,
)
from fl.evaluation.metrics import mean_of
from fl.messages.payloads import EvaluationReply
from fl.messages.round_vector import ALL_SITES
from fl.privacy.differential_privacy.private_histograms import readable_histograms, share_of
from fl.privacy.fixed_point_sums import fixed_loss, loss_of
from fl.runs.history_tables import SiteRow
from fl.runs.round_selection import (
    Selection,
    is_better,
    macro_auroc,
    pooled_auroc,
    selection_score,
    sum_sources,
)
from fl.training.state_dict import Weights
from partitions.splits import VAL
from server.rounds.checkpoints import TrainingProgress

SITES_AT_ONCE = 64  # whose histograms are counted together; those of more would not stay in cache


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


def validate_private_round(
    task: Task,
    strategy: str,
    progress: TrainingProgress,
    evaluated: Sequence[EvaluationReply],
    noise: float,
) -> dict[str, Any]:
    """The same under differential privacy, where the last round is the one that counts.

    `noise`: the standard deviation of a count of each reply, in patients.

    A choice among rounds would spend privacy in each. So only the last round is validated, by the
    sum of noised histograms, for its thresholds and its calibration; the others have no figures.
    """
    if evaluated:
        sums = sum_sources(evaluated, len(task.classes))
        # With the noise of all, a small source's own histograms would rank its scores backwards.
        whole = sum((found.scores for found in sums.values()), empty_histograms(len(task.classes)))
        everybody = sum(found.n_patients for found in sums.values())
        scores = readable_histograms(whole, noise * math.sqrt(len(evaluated)))
        readable = {
            source: replace(found, scores=share_of(scores, found.n_patients, everybody))
            for source, found in sums.items()
        }
        everyone = EvaluationReply(
            site=ALL_SITES,
            n_records=sum(reply.n_records for reply in evaluated),
            n_patients=sum(reply.n_patients for reply in evaluated),
            loss_sum=0.0,
            by_source=readable,
            report=None,
        )
        validation = measure_validation(task, strategy, progress.round, [everyone])
        progress.rule = validation.rule
        figures = validation.figures
    else:
        measures = dict.fromkeys(("val_loss", "val_macro_f1", "val_macro_auroc"))
        figures = {"strategy": strategy, "round": progress.round, **measures}
    progress.best_round, progress.best_weights = progress.round, dict(progress.weights)
    return figures


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
    thresholds = {source: rule.raw_thresholds(source, task.classes) for source in by_source}
    confusion = np.zeros((classes, 4), dtype=np.int64)
    site_rows = []
    for begin in range(0, len(evaluated), SITES_AT_ONCE):
        some = evaluated[begin : begin + SITES_AT_ONCE]
        for reply, at_site, aurocs in zip(some, *_at_sites(some, thresholds, task), strict=True):
            confusion += at_site
            if reply.site != ALL_SITES:  # of a secure sum no site's own figures are known
                site_rows.append(
                    _site_row(strategy, number, reply, at_site, macro_auroc(aurocs, task))
                )
    loss = evaluation_loss(evaluated)
    figures = {
        "strategy": strategy,
        "round": number,
        "val_loss": loss,
        "val_macro_f1": mean_of(confusion_f1s(confusion)),
        "val_macro_auroc": pooled_auroc(by_source, task),
    }
    found = selection_score(task, by_source, confusion, loss)
    return Validation(figures=figures, site_rows=site_rows, found=found, rule=rule)


def _is_best(found: Selection | None, progress: TrainingProgress) -> bool:
    """Whether the round is the best so far. The first is, even if nothing can be measured."""
    best = Selection(progress.best_by, progress.best_score) if progress.best_by else None
    return progress.best_round == 0 or is_better(found, best)


def mean_loss(parts: Sequence[tuple[float, int]]) -> float | None:
    """Mean of (sum of losses, number of patients or records) pairs; None without any.

    The losses are added as whole numbers, as a secure sum adds them.
    """
    n = sum(count for _, count in parts)
    return loss_of(sum(fixed_loss(loss) for loss, _ in parts)) / n if n else None


def evaluation_loss(evaluated: Sequence[EvaluationReply]) -> float | None:
    """Mean loss of the patients of these sites; None without a class that may be counted.

    A site withholds the losses of classes that few patients show, and may withhold all. A loss of
    classes that are counted is never zero: no probability is taken closer to 0 or 1 than 1e-7.
    """
    return mean_loss([(r.loss_sum, r.n_patients) for r in evaluated if r.loss_sum > 0])


def _at_sites(
    evaluated: Sequence[EvaluationReply],
    thresholds: Mapping[str, Sequence[float | None]],
    task: Task,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each site's `confusion_counts` (site, class, 4), and AUROCs (site, class), NaN for none."""
    by_site = [dict(reply.by_source) for reply in evaluated]  # small ones are packed until here
    whole = stacked_histograms([empty_histograms(len(task.classes))] * len(by_site))
    confusion = np.zeros((len(by_site), len(task.classes), 4), dtype=np.int64)
    for source, chosen in thresholds.items():
        sites = [place for place, found in enumerate(by_site) if source in found]
        if sites:
            scores = stacked_histograms([by_site[place][source].scores for place in sites])
            confusion[sites] += confusion_counts(scores, chosen)
            whole.positive[sites] += scores.positive
            whole.negative[sites] += scores.negative
    return confusion, stacked_aurocs(whole)


def _site_row(
    strategy: str,
    round_number: int,
    reply: EvaluationReply,
    confusion: NDArray[np.int64],
    auroc: float | None,
) -> SiteRow:
    """A site's line of sites.csv for its validation records."""
    return SiteRow(
        strategy=strategy,
        round=round_number,
        site=reply.site,
        split=VAL,
        n_records=reply.n_records,
        loss=evaluation_loss([reply]),
        macro_f1=mean_of(confusion_f1s(confusion)),
        macro_auroc=auroc,
    )
