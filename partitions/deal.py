"""Deal a cohort to sites, a central set and an unseen source; write and read the result."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.cache import write_whole
from fl.cohort import Cohort
from fl.errors import ConfigError, DataError
from fl.leaving import SITE as SITE_NAME
from fl.seeds import stream
from fl.tasks import Task
from partitions import PARTITIONERS
from partitions.roll import call_roll
from partitions.schemes import apportion, assign_all
from partitions.splits import TEST, TRAIN, VAL, split_site

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


def share_sites(
    sources: Mapping[str, int | None],
    recordings: Mapping[str, int],
    clients: int,
    most: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Number of sites of each source; a number given for a source fixes it.

    One each, and the rest in proportion to the square root of the source's recordings, by
    largest remainder: in plain proportion a small source would never have more than one. `most`
    is how many sites a source can have at all.
    """
    fixed = {name: n for name, n in sources.items() if n is not None}
    free = [name for name in sources if name not in fixed]
    left = clients - sum(fixed.values())
    if left < len(free) or (not free and left != 0):
        wanted = f"{sum(fixed.values())} by --sources" + (f" and {len(free)} more" if free else "")
        raise ConfigError(
            f"--clients is {clients}, but every source needs a site of its own: {wanted}. "
            f"Sources: {', '.join(sources)}."
        )
    most = most or dict.fromkeys(sources, clients)
    _check_most(fixed, free, most, clients)
    while free:
        roots = np.array([math.sqrt(recordings[name]) for name in free])
        counts = apportion(roots, clients - sum(fixed.values()))
        shares = dict(zip(free, counts.tolist(), strict=True))
        over = [name for name in free if shares[name] > most[name]]
        fixed |= {name: min(shares[name], most[name]) for name in over or free}
        free = [name for name in free if name not in fixed]
    return {name: fixed[name] for name in sources}


def _check_most(
    fixed: Mapping[str, int], free: Sequence[str], most: Mapping[str, int], clients: int
) -> None:
    """`ConfigError` where more sites are wanted than a source has groups to make them of."""
    possible = sum(fixed.values()) + sum(most[name] for name in free)
    held = ", ".join(f"{name} {n}" for name, n in most.items())
    if any(n > most[name] for name, n in fixed.items()) or possible < clients:
        raise ConfigError(
            f"--partition is 'natural' and --clients {clients}, but the sources have only so many "
            f"groups (recorders, hospitals or devices) to make sites of: {held}. Use --clients "
            f"{sum(most.values())} or fewer, or another partition."
        )


def deal(
    cohort: Cohort,
    sites_of: Mapping[str, int],
    scheme: str,
    alpha: float,
    seed: int,
    holdout: str = "",
) -> Partition:
    """Deal every source's patients to its sites and split each site's patients.

    Central patients are set aside first, so no site trains on them.
    """
    site = np.full(len(cohort), "", dtype="U64")
    split = np.full(len(cohort), TEST, dtype="U5")
    names = iter(site_names(sum(sites_of.values())))
    for source, n_sites in sites_of.items():
        roll = call_roll(cohort, source, seed)
        site[roll.rows[roll.central[roll.person]]] = CENTRAL
        dealt = np.flatnonzero(~roll.central)
        partitioner = PARTITIONERS[scheme](sites=n_sites, alpha=alpha)
        rng = stream(seed, "partition", source)
        site_of = assign_all(partitioner, roll.people.take(dealt), rng)
        for number in range(n_sites):
            name = next(names)
            mine = dealt[site_of == number]
            # Named by the site alone: a hospital that splits its own patients, without the
            # others, gets the same result.
            splits = split_site(roll.positive[mine] > 0, stream(seed, "split", name))
            for patients, part in ((mine[splits == s], s) for s in (TRAIN, VAL, TEST)):
                chosen = roll.rows[np.isin(roll.person, patients)]
                site[chosen], split[chosen] = name, part
    return hold_out(Partition(site, split), cohort, holdout)


def site_names(total: int) -> list[str]:
    """`site-1`, `site-2`, ... with as many digits as the last one needs."""
    return [f"site-{i:0{len(str(total))}d}" for i in range(1, total + 1)]


def hold_out(partition: Partition, cohort: Cohort, name: str) -> Partition:
    """The partition with a source, or one site, as the unseen test that nobody trains on."""
    if not name:
        return partition
    held = (cohort.sources == name) | (partition.site == name)
    left = set(partition.site[~held].tolist()) - {CENTRAL, UNSEEN}
    if not held.any() or name in (CENTRAL, UNSEEN):
        raise ConfigError(
            f"--holdout is {name!r}. Accepted: a source or one site of the partition: "
            f"{', '.join(partition.sites)}."
        )
    if not left:
        raise ConfigError(f"--holdout {name}: no site is left to train on. Use more sites.")
    return Partition(np.where(held, UNSEEN, partition.site), np.where(held, TEST, partition.split))


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
    write_whole(path, text.getvalue().encode())


def open_partition(path: Path, task: Task, shards: Sequence[str]) -> tuple[Cohort, Partition]:
    """A dealt cohort as it was written: its examples and where each is."""
    cohort, _ = Cohort.open(task, [Path(shard) for shard in shards]).without_copies()
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
