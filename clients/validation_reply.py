"""A site's answer to a request to validate weights: sums and counts, by source."""

import numpy as np
from numpy.typing import NDArray

from clients.simulated_sites import Site
from fl.data.cohort import Cohort
from fl.evaluation.decisions.score_histograms import count_scores
from fl.messages.payloads import EvaluationReply, SourceValidation
from fl.training.losses import patient_losses
from partitions.splits import TRAIN, VAL

Probabilities = NDArray[np.float64]  # (example, class)


def validation_reply(
    site: Site, p: Probabilities, split: str = VAL, min_count: int | None = None
) -> EvaluationReply:
    """Counts by source of what was predicted for a split of the site's records.

    A source with fewer than `min_count` patients counts as one without any; None: the site's own
    smallest count.
    """
    cohort = site.splits[split]
    fewest = site.min_count if min_count is None else min_count
    none = np.zeros(0, dtype=np.int64)
    by_source, counted = {}, []
    labels = cohort.labels.copy()  # as far as they may be reported
    # A source that the site trains on is named even where none of its records is validated.
    for source in sorted({*site.splits[TRAIN].rows_of_sources, *cohort.rows_of_sources}):
        rows = cohort.rows_of_sources.get(source, none)
        part = cohort.by_source.get(source)
        if part is None or part.n_patients < fewest:
            rows = none
            part = cohort.take(rows)
        counted.append(rows)
        permitted = part.without_rare(fewest)
        labels[rows] = permitted.labels
        by_source[source] = SourceValidation(
            n_patients=part.n_patients,
            scores=count_scores(permitted.labels, p[rows], part.patient_numbers),
        )
    kept = np.sort(np.concatenate([none, *counted]))
    reported = cohort if len(kept) == len(cohort) else cohort.take(kept)
    return EvaluationReply(
        site=site.name,
        n_records=len(kept),
        n_patients=sum(source.n_patients for source in by_source.values()),
        loss_sum=loss_sum_of(reported, p[kept], labels[kept]),
        by_source=by_source,
        report=None,
    )


def loss_sum_of(cohort: Cohort, p: Probabilities, labels: NDArray[np.int8]) -> float:
    """Sum over patients of the mean loss of each one's examples, by `labels` (example, class).

    These lack classes that are too rare to be reported. Where an example has exactly one class,
    one of a rare class has none: its patient counts with the mean loss of the others.
    """
    known = (labels == 1).any(axis=1) if cohort.task.exclusive else np.ones(len(cohort), dtype=bool)
    if known.all():
        return float(patient_losses(cohort.task, labels, p, cohort.patient_numbers).sum())
    if not known.any():
        return 0.0
    losses = patient_losses(cohort.task, labels[known], p[known], cohort.patient_numbers[known])
    return float(losses.mean() * cohort.n_patients)
