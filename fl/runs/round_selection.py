"""How good a round is by its validation: what the best round is chosen by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.ecg.tasks import Task
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.decisions.score_histograms import (
    confusion_counts,
    confusion_f1s,
    empty_histograms,
    histogram_aurocs,
    stacked_aurocs,
)
from fl.evaluation.decisions.thresholds import MIN_POSITIVES
from fl.evaluation.metrics import mean_of
from fl.messages.payloads import EvaluationReply, SourceValidation

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


def is_better(found: Selection | None, best: Selection | None) -> bool:
    """Whether a round is the best so far; of equally good rounds it is the last.

    None is a round of which validation can measure nothing; of such rounds alone it is the last. A
    round that misses the patients of a site may be measured in another way than the others: the
    stronger measure wins.
    """
    if found is None or best is None:
        return best is None
    if found.by != best.by:
        return CRITERIA.index(found.by) < CRITERIA.index(best.by)
    return found.score >= best.score


def sum_sources(evaluated: Sequence[EvaluationReply], classes: int) -> dict[str, SourceValidation]:
    """Validation of each source, added over the sites, in order of its name."""
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
    return {source: total[source] for source in sorted(total)}


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


def confusion_of(
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


def pooled_auroc(by_source: Mapping[str, SourceValidation], task: Task) -> float | None:
    """Of the scores of all sources together, over the classes that the task trains on."""
    none = empty_histograms(len(task.classes))
    scores = sum((source.scores for source in by_source.values()), start=none)
    return macro_auroc(stacked_aurocs(scores), task)


def macro_auroc(aurocs: NDArray[np.float64], task: Task) -> float | None:
    """The mean over the classes that the task trains on: (class,), NaN where there is none."""
    found = aurocs[_trainable(task)]
    return mean_of([None if np.isnan(value) else value for value in found.tolist()])
