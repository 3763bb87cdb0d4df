"""What each site was dealt: rows of a table, label counts, and how different the sites are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.ecg.labels import shows_none
from partitions.partition import CENTRAL, UNSEEN, Partition
from partitions.splits import TEST, TRAIN, VAL
from partitions.table_one import table_one


def site_rows(cohort: Cohort, partition: Partition) -> list[dict[str, object]]:
    """One row per site, then `central` and `unseen` if they have examples.

    A row has the site's name, sources, groups, number of patients, number of examples in each
    split, number of positive examples of each class, number of examples that show none of the
    classes they annotate, and who its patients are.
    """
    rows: list[dict[str, object]] = []
    groups = cohort.column("groups").astype(np.str_)
    sources, patients = cohort.sources, cohort.patients
    extra = [name for name in (CENTRAL, UNSEEN) if len(partition.rows_at(name))]
    for name in [*partition.sites, *extra]:
        at_site = partition.rows_at(name)
        positive = (cohort.labels[at_site] == 1).sum(axis=0)
        rows.append(
            {
                "site": name,
                "sources": sorted(set(sources[at_site].tolist())),
                "groups": sorted(set(groups[at_site].tolist()) - {""}),
                "patients": len(set(patients[at_site].tolist())),
                **{s: int((partition.split[at_site] == s).sum()) for s in (TRAIN, VAL, TEST)},
                "labels": dict(zip(cohort.task.classes, positive.tolist(), strict=True)),
                "none_of_the_classes": int(shows_none(cohort.labels[at_site]).sum()),
                "table_one": table_one(cohort.take(at_site)),
            }
        )
    return rows


def unmeasurable(cohort: Cohort, partition: Partition, split: str = TEST) -> Sequence[str]:
    """Classes that no central example of the split shows: their measures will be n/a."""
    rows = partition.rows(CENTRAL, split)
    shown = (cohort.labels[rows] == 1).any(axis=0)
    return [
        c for c, is_shown in zip(cohort.task.classes, shown.tolist(), strict=True) if not is_shown
    ]


def label_counts(cohort: Cohort, partition: Partition) -> NDArray[np.int64]:
    """Number of each site's examples that show each class: (site, class).

    -1 where none of the site's examples annotates the class. With one class, a second column
    counts those that do not show it: sites differ in how many do.
    """
    labels = [cohort.labels[partition.rows_at(name)] for name in partition.sites]
    counts = np.stack([np.where((y >= 0).any(0), (y == 1).sum(0), -1) for y in labels])
    if counts.shape[1] > 1:
        return counts
    absent = np.stack([np.where((y >= 0).any(0), (y == 0).sum(0), -1) for y in labels])
    return np.concatenate([counts, absent], axis=1)


def non_iid(cohort: Cohort, partition: Partition) -> float | None:
    """How different the sites' label mixes are: 0 equal, 1 nothing in common.

    The mean over pairs of sites of the Jensen-Shannon distance to base 2 (Endres & Schindelin
    2003, 10.1109/TIT.2003.813506) between their shares of positive labels, over the classes that
    both sites annotate. None if no pair can be compared.
    """
    counts = label_counts(cohort, partition)
    distances = [js_distances(site, counts[i + 1 :]) for i, site in enumerate(counts[:-1])]
    known = np.concatenate([d[~np.isnan(d)] for d in distances]) if distances else np.zeros(0)
    return round(float(known.mean()), 6) if len(known) else None


def js_distances(counts: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """Jensen-Shannon distance of label counts to others: (class,), (other, class) -> (other,).

    A negative count means that the class is not annotated. nan where one of a pair has no
    positive label in the classes that both annotate.
    """
    from scipy.special import rel_entr  # imported late: workers load this file without using it

    both = (counts >= 0) & (others >= 0)
    p, q = counts * both, others * both
    sums = np.stack([p.sum(axis=1), q.sum(axis=1)])
    usable = (sums > 0).all(axis=0)
    p, q = (x[usable] / n[usable, None] for x, n in zip((p, q), sums, strict=True))
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / (2 * np.log(2))
    distances = np.full(len(others), np.nan)
    # Rounding may leave equal mixes a little below zero.
    distances[usable] = np.sqrt(divergence.clip(min=0))
    return distances
