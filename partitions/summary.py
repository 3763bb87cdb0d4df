"""What each site holds, as rows of a table, and how far the sites are apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from partitions.partition import CENTRAL, UNSEEN, Partition
from partitions.splits import TEST, TRAIN, VAL


def site_rows(cohort: Cohort, partition: Partition) -> list[dict[str, object]]:
    """One row per site, then `central` and `unseen` where they hold something."""
    rows: list[dict[str, object]] = []
    groups = cohort.column("groups").astype(np.str_)
    extra = [name for name in (CENTRAL, UNSEEN) if (partition.site == name).any()]
    for name in [*partition.sites, *extra]:
        held = partition.site == name
        positive = (cohort.labels[held] == 1).sum(axis=0)
        rows.append(
            {
                "site": name,
                "sources": sorted(set(cohort.sources[held].tolist())),
                "groups": sorted(set(groups[held].tolist()) - {""}),
                "patients": len(set(cohort.patients[held].tolist())),
                **{s: int((partition.split[held] == s).sum()) for s in (TRAIN, VAL, TEST)},
                "labels": dict(zip(cohort.task.classes, positive.tolist(), strict=True)),
            }
        )
    return rows


def unmeasurable(cohort: Cohort, partition: Partition, split: str = TEST) -> Sequence[str]:
    """Classes that no central example of the split shows: their figures will be n/a."""
    central = (partition.site == CENTRAL) & (partition.split == split)
    shown = (cohort.labels[central] == 1).any(axis=0).tolist()
    return [name for name, known in zip(cohort.task.classes, shown, strict=True) if not known]


def label_counts(cohort: Cohort, partition: Partition) -> NDArray[np.int64]:
    """Records of each site that show each class: (site, class), -1 where none annotates it."""
    labels = [cohort.labels[partition.site == name] for name in partition.sites]
    return np.stack([np.where((y >= 0).any(0), (y == 1).sum(0), -1) for y in labels])


def non_iid(cohort: Cohort, partition: Partition) -> float | None:
    """How far the label mixes of sites are apart, mean over pairs: 0 alike, 1 nothing in common.

    Jensen-Shannon distance to base 2 (Endres & Schindelin 2003, 10.1109/TIT.2003.813506)
    between shares of positive labels, over the classes that both sites annotate. None where no
    pair can be compared.
    """
    counts = label_counts(cohort, partition)
    distances = [js_distances(one, counts[i + 1 :]) for i, one in enumerate(counts[:-1])]
    known = np.concatenate([d[~np.isnan(d)] for d in distances]) if distances else np.zeros(0)
    return round(float(known.mean()), 6) if len(known) else None


def js_distances(one: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of one label count to others: (class,), (other, class) -> (other,).

    Negative counts are classes not annotated. nan where a pair shares no positive label.
    """
    # Imported here: worker processes load this file and do not need it.
    from scipy.special import rel_entr

    both = (one >= 0) & (others >= 0)
    p, q = one * both, others * both
    sums = np.stack([p.sum(axis=1), q.sum(axis=1)])
    usable = (sums > 0).all(axis=0)
    p, q = (x[usable] / n[usable, None] for x, n in zip((p, q), sums, strict=True))
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / (2 * np.log(2))
    distances = np.full(len(others), np.nan)
    # Rounding may leave equal mixes a little below zero.
    distances[usable] = np.sqrt(divergence.clip(min=0))
    return distances
