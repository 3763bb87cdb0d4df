"""The site and the split of every example, and the file partition.csv that stores them."""

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.ecg.tasks import Task
from fl.privacy.egress_policy import SITE as SITE_NAME
from fl.util.atomic_io import write_atomically
from fl.util.csv_table import read_ragged_csv
from fl.util.errors import ConfigError, DataError
from partitions.splits import TEST, TRAIN, VAL

CENTRAL, UNSEEN = "central", "unseen"
HEADER = ["source", "record", "patient", "site", "split", "labels"]


@dataclass(frozen=True)
class Partition:
    """The site of every example, or `central` or `unseen`, and its split."""

    site: NDArray[np.str_]  # (example,) name of a site, "central" or "unseen"
    split: NDArray[np.str_]  # (example,) train, val or test

    def rows(self, site: str, split: str) -> NDArray[np.int64]:
        """Numbers of the examples of one site and split, in order."""
        held = self.rows_at(site)
        return np.asarray(held[self.split[held] == split])

    def rows_at(self, site: str) -> NDArray[np.int64]:
        """Numbers of the examples of one site, or of `central` or `unseen`, in order."""
        return self._rows_by_site.get(site, np.zeros(0, dtype=np.int64))

    @property
    def sites(self) -> list[str]:
        """Names of the sites, in order, without `central` and `unseen`."""
        return sorted(self._rows_by_site.keys() - {CENTRAL, UNSEEN})

    @cached_property
    def _rows_by_site(self) -> dict[str, NDArray[np.int64]]:
        # In one pass: with a pass for each site the time grows with the square of their number.
        names, number = np.unique(self.site, return_inverse=True)
        order = np.argsort(number, kind="stable")
        ends = np.cumsum(np.bincount(number, minlength=len(names)))
        return dict(zip(names.tolist(), np.split(order, ends)[: len(names)], strict=True))


def label_text(labels: NDArray[np.int8], classes: Sequence[str]) -> str:
    """The positive classes of one example as text: `AF|RBBB`."""
    return "|".join(c for c, value in zip(classes, labels.tolist(), strict=True) if value == 1)


def write_partition(path: Path, cohort: Cohort, partition: Partition) -> None:
    """Write partition.csv, one line per example."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(
        zip(
            cohort.sources.tolist(),
            cohort.names.tolist(),
            cohort.patients.tolist(),
            partition.site.tolist(),
            partition.split.tolist(),
            _label_texts(cohort),
            strict=True,
        )
    )
    write_atomically(path, text.getvalue().encode())


def open_partition(path: Path, task: Task, shards: Sequence[str]) -> tuple[Cohort, Partition]:
    """The examples of a run's cache folders, and the partition that was written for them."""
    cohort, _ = Cohort.open(task, [Path(shard) for shard in shards]).without_duplicates()
    return cohort, read_partition(path, cohort)


def read_partition(path: Path, cohort: Cohort) -> Partition:
    """The partition of exactly these examples; `DataError` names how the file differs."""
    rows = _rows(path)
    if not rows or rows[0] != HEADER or set(map(len, rows)) != {len(HEADER)}:
        raise DataError(f"{path}: is not a partition. The columns of one are {','.join(HEADER)}.")
    sources, records, patients, sites, splits, labels = map(list, zip(*rows, strict=True))
    same = (
        sources[1:] == cohort.sources.tolist()
        and records[1:] == cohort.names.tolist()
        and patients[1:] == cohort.patients.tolist()
        and labels[1:] == _label_texts(cohort)
        and len(set(zip(sources, records, strict=True))) == len(rows)
    )
    if same:  # a run's own partition, line by line: a dictionary of it takes several times as long
        return Partition(np.array(sites[1:], dtype=np.str_), np.array(splits[1:], dtype=np.str_))
    saved = {(source, record): row for source, record, *row in rows[1:]}
    if len(saved) != len(rows) - 1:
        raise DataError(f"{path}: names a record twice. Make a new partition.")
    present = _patients_and_labels(cohort)
    both = present.keys() & saved.keys()
    differences = [
        f"{source}/{record} {difference}"
        for keys, difference in (
            (present.keys() - saved.keys(), "is not in it"),
            (saved.keys() - present.keys(), "is only in it"),
            ({k for k in both if present[k][0] != saved[k][0]}, "has another patient"),
            ({k for k in both if present[k][1] != saved[k][3]}, "has other labels"),
        )
        for source, record in sorted(keys)[:1]
    ]
    if differences:
        raise DataError(
            f"{path}: made from other data ({len(saved)} records there, {len(present)} here; "
            f"{', '.join(differences)}). Use the data it was made from, or make a new partition."
        )
    sites_and_splits = np.array([saved[key][1:3] for key in present], dtype=np.str_).reshape(-1, 2)
    return Partition(sites_and_splits[:, 0], sites_and_splits[:, 1])


def _rows(path: Path) -> list[list[str]]:
    """The lines of a partition.csv as we write it, or as a spreadsheet saved it again."""
    with suppress(UnicodeDecodeError), path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
        if rows and rows[0] == HEADER:
            return rows
    table = read_ragged_csv(path)
    return [list(table.columns), *(list(cells) for _, cells in table.rows)]


def load_partition(path: Path, cohort: Cohort, clients: int) -> Partition:
    """A saved partition, to be used again; `ConfigError` or `DataError` if it cannot be."""
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
        accepted = (TEST,) if site in (CENTRAL, UNSEEN) else (TRAIN, VAL, TEST)
        if split not in accepted or not SITE_NAME.fullmatch(site):
            raise DataError(
                f"{path}: site {site!r}, split {split!r}. A site's name has letters, digits, '-' "
                f"and '_'; a split there is one of {', '.join(accepted)}. Correct the file."
            )
    _check_patients(path, cohort, partition)
    if len(partition.sites) != clients:
        raise ConfigError(
            f"--clients is {clients}, but {path} has {len(partition.sites)} sites. "
            f"Use --clients {len(partition.sites)}."
        )
    return partition


def _check_patients(path: Path, cohort: Cohort, partition: Partition) -> None:
    """`DataError` if a patient is at two sites or in two splits; a record is named, no patient."""
    site_and_split = np.char.add(np.char.add(partition.site, "/"), partition.split)
    pairs = np.unique(np.stack([cohort.patients, site_and_split]), axis=1)
    patients, counts = np.unique(pairs[0], return_counts=True)
    if (counts > 1).any():
        record = cohort.names[cohort.patients == patients[counts > 1][0]][0]
        raise DataError(
            f"{path}: {(counts > 1).sum()} patients are at two sites or in two splits, the first "
            f"with record {record}. Keep each patient together."
        )


def _patients_and_labels(cohort: Cohort) -> dict[tuple[str, str], tuple[str, str]]:
    """(source, record) -> (patient, labels as text), in the cohort's order."""
    keys = zip(cohort.sources.tolist(), cohort.names.tolist(), strict=True)
    values = zip(cohort.patients.tolist(), _label_texts(cohort), strict=True)
    return dict(zip(keys, values, strict=True))


def _label_texts(cohort: Cohort) -> list[str]:
    """`label_text` of each example; many have the same labels."""
    different, number = np.unique(cohort.labels, axis=0, return_inverse=True)
    texts = [label_text(row, cohort.task.classes) for row in different]
    return [texts[n] for n in number.ravel().tolist()]
