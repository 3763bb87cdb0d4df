"""What each site was dealt, as rows for a table."""

from collections.abc import Sequence

from fl.cohort import Cohort
from partitions.deal import CENTRAL, UNSEEN, Partition
from partitions.splits import TEST, TRAIN, VAL


def site_rows(cohort: Cohort, partition: Partition) -> list[dict[str, object]]:
    """One row per site, then `central` and `unseen` where they hold something."""
    rows: list[dict[str, object]] = []
    extra = [name for name in (CENTRAL, UNSEEN) if (partition.site == name).any()]
    for name in [*partition.sites, *extra]:
        mine = partition.site == name
        part = cohort.labels[mine] == 1
        rows.append(
            {
                "site": name,
                "sources": sorted(set(cohort.sources[mine].tolist())),
                "patients": len(set(cohort.patients[mine].tolist())),
                **{s: int((partition.split[mine] == s).sum()) for s in (TRAIN, VAL, TEST)},
                "labels": dict(zip(cohort.task.classes, part.sum(axis=0).tolist(), strict=True)),
            }
        )
    return rows


def unmeasurable(cohort: Cohort, partition: Partition, split: str = TEST) -> Sequence[str]:
    """Classes that no central example of the split shows: their figures will be n/a."""
    mine = (partition.site == CENTRAL) & (partition.split == split)
    seen = (cohort.labels[mine] == 1).any(axis=0)
    return [c for c, there in zip(cohort.task.classes, seen.tolist(), strict=True) if not there]
