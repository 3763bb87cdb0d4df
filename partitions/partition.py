"""Where every example is: its site and its split; partition.csv written and read."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.ecg.tasks import Task
from fl.privacy.egress_policy import SITE as SITE_NAME
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, DataError
from partitions.splits import TEST, TRAIN, VAL

CENTRAL, UNSEEN = "central", "unseen"
HEADER = ["source", "record", "patient", "site", "split", "labels"]


@dataclass(frozen=True)
class Partition:
    """Where every example is: its site (or `central`, `unseen`) and its split."""

    site: NDArray[np.str_]  # (example,)
    split: NDArray[np.str_]  # (example,) train, val or test

    def rows(self, site: str, split: str) -> NDArray[np.int64]:
        """Examples of one site and split."""
        return np.flatnonzero((self.site == site) & (self.split == split))

    @property
    def sites(self) -> list[str]:
        """Names of the hospitals, in order."""
        return sorted(set(self.site.tolist()) - {CENTRAL, UNSEEN})


def label_text(labels: NDArray[np.int8], classes: Sequence[str]) -> str:
    """Present classes as `AF|RBBB`."""
    return "|".join(c for c, value in zip(classes, labels.tolist(), strict=True) if value == 1)


def write_partition(path: Path, cohort: Cohort, partition: Partition) -> None:
    """partition.csv, one line per example."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    labels = [label_text(row, cohort.task.classes) for row in cohort.labels]
    writer.writerows(
        zip(
            cohort.sources.tolist(),
            cohort.names.tolist(),
            cohort.patients.tolist(),
            partition.site.tolist(),
            partition.split.tolist(),
            labels,
            strict=True,
        )
    )
    write_atomically(path, text.getvalue().encode())


def open_partition(path: Path, task: Task, shards: Sequence[str]) -> tuple[Cohort, Partition]:
    """A dealt cohort as it was written: its examples and where each is."""
    cohort, _ = Cohort.open(task, [Path(shard) for shard in shards]).without_duplicates()
    return cohort, read_partition(path, cohort)


def read_partition(path: Path, cohort: Cohort) -> Partition:
    """The partition of exactly these examples; `DataError` names how the file differs."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [tuple(row) for row in csv.reader(file)]
    if not rows or list(rows[0]) != HEADER or {len(row) for row in rows} != {len(HEADER)}:
        raise DataError(f"{path}: is no partition. Its columns are {','.join(HEADER)}.")
    there = {(source, record): row for source, record, *row in rows[1:]}
    if len(there) != len(rows) - 1:
        raise DataError(f"{path}: names a record twice. Make a new partition.")
    here = _facts(cohort)
    differences = [
        f"{source}/{record} {what}"
        for keys, what in (
            (here.keys() - there.keys(), "is not in it"),
            (there.keys() - here.keys(), "is only in it"),
            ({k for k in here.keys() & there.keys() if here[k][0] != there[k][0]}, "is another's"),
            ({k for k in here.keys() & there.keys() if here[k][1] != there[k][3]}, "is relabelled"),
        )
        for source, record in sorted(keys)[:1]
    ]
    if differences:
        raise DataError(
            f"{path}: made from other data ({len(there)} records there, {len(here)} here; "
            f"{', '.join(differences)}). Use the data it was made from, or make a new partition."
        )
    found = np.array([there[key][1:3] for key in here], dtype=np.str_).reshape(-1, 2)
    return Partition(found[:, 0], found[:, 1])


def load_partition(path: Path, cohort: Cohort, clients: int) -> Partition:
    """A saved partition to run again; `ConfigError` or `DataError` if it cannot be."""
    try:
        partition = read_partition(path, cohort)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--partition file:{path}: cannot be read ({reason}). Name a run's partition.csv."
        ) from error
    for site, split in sorted(
        set(zip(partition.site.tolist(), partition.split.tolist(), strict=True))
    ):
        wanted = (TEST,) if site in (CENTRAL, UNSEEN) else (TRAIN, VAL, TEST)
        if split not in wanted or not SITE_NAME.fullmatch(site):
            raise DataError(
                f"{path}: site {site!r}, split {split!r}. A site's name has letters, digits, '-' "
                f"and '_'; a split there is one of {', '.join(wanted)}. Mend the file."
            )
    place = np.char.add(np.char.add(partition.site, "/"), partition.split)
    pairs = np.unique(np.stack([cohort.patients, place]), axis=1)
    people, places = np.unique(pairs[0], return_counts=True)
    if (places > 1).any():
        raise DataError(
            f"{path}: {(places > 1).sum()} patients are at two sites or in two splits, the first "
            f"with record {cohort.names[cohort.patients == people[places > 1][0]][0]}. Keep each "
            "patient together."
        )
    if len(partition.sites) != clients:
        raise ConfigError(
            f"--clients is {clients}, but {path} has {len(partition.sites)} sites. "
            f"Use --clients {len(partition.sites)}."
        )
    return partition


def _facts(cohort: Cohort) -> dict[tuple[str, str], tuple[str, str]]:
    """(source, record) -> (patient, labels as text), in the cohort's order."""
    texts = {row.tobytes(): label_text(row, cohort.task.classes) for row in cohort.labels}
    labels = [texts[row.tobytes()] for row in cohort.labels]
    keys = zip(cohort.sources.tolist(), cohort.names.tolist(), strict=True)
    facts = zip(cohort.patients.tolist(), labels, strict=True)
    return dict(zip(keys, facts, strict=True))
