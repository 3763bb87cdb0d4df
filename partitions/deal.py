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
from fl.datasets.mitdb import DS2
from fl.errors import ConfigError, DataError
from fl.seeds import stream
from fl.tasks import Task
from partitions import PARTITIONERS
from partitions.schemes import assign_all
from partitions.splits import CENTRAL_SHARES, TEST, TRAIN, VAL, split_site, stratify

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
    sources: Mapping[str, int | None], recordings: Mapping[str, int], clients: int
) -> dict[str, int]:
    """Number of sites of each source; a number given for a source fixes it.

    One each, and the rest in proportion to the square root of the source's recordings, by
    largest remainder: in plain proportion a small source would never have more than one.
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
    roots = np.array([math.sqrt(recordings[name]) for name in free])
    spare = left - len(free)
    quota = roots / roots.sum() * spare if free else roots
    counts = np.floor(quota).astype(int)
    for i in np.argsort(counts - quota, kind="stable")[: spare - counts.sum()]:
        counts[i] += 1
    shares = fixed | {name: 1 + int(n) for name, n in zip(free, counts, strict=True)}
    return {name: shares[name] for name in sources}


def deal(
    cohort: Cohort,
    sites_of: Mapping[str, int],
    scheme: str,
    alpha: float,
    seed: int,
    holdout: str = "",
) -> Partition:
    """Deal every source's patients to its sites and split each site's patients.

    Central patients are set aside first, so no site trains on them. For heartbeats on MIT-BIH
    they are the records of DS2 (de Chazal et al. 2004, 10.1109/TBME.2004.827359); record 201
    joins its own person's 202 there.
    """
    site = np.full(len(cohort), "", dtype="U64")
    split = np.full(len(cohort), TEST, dtype="U5")
    total = sum(sites_of.values())
    names = iter([f"site-{i:0{len(str(total))}d}" for i in range(1, total + 1)])
    for source, n_sites in sites_of.items():
        rows = np.flatnonzero(cohort.sources == source)
        people, person = np.unique(cohort.patients[rows], return_inverse=True)
        positive = np.zeros((len(people), len(cohort.task.classes)), dtype=np.int64)
        np.add.at(positive, person, cohort.labels[rows] == 1)
        central = _central(cohort, source, rows, person, positive > 0, seed)
        site[rows[central[person]]] = CENTRAL
        dealt = np.flatnonzero(~central)
        partitioner = PARTITIONERS[scheme](sites=n_sites, alpha=alpha)
        site_of = assign_all(
            partitioner, _main_class(positive[dealt]), stream(seed, "partition", source)
        )
        for number in range(n_sites):
            name = next(names)
            mine = dealt[site_of == number]
            # Named by the site alone: a hospital that splits its own patients, without the
            # others, gets the same result.
            splits = split_site(positive[mine] > 0, stream(seed, "split", name))
            for patients, part in ((mine[splits == s], s) for s in (TRAIN, VAL, TEST)):
                chosen = rows[np.isin(person, patients)]
                site[chosen], split[chosen] = name, part
    site[cohort.sources == holdout] = UNSEEN
    return Partition(site, split)


def _central(
    cohort: Cohort,
    source: str,
    rows: NDArray[np.int64],
    person: NDArray[np.int64],
    present: NDArray[np.bool_],
    seed: int,
) -> NDArray[np.bool_]:
    """Which patients of a source are the central test: (patient,)."""
    if cohort.task.exclusive and source == "mitdb":
        in_ds2 = np.isin(cohort.column("recordings")[rows], DS2)
        central = np.zeros(len(present), dtype=bool)
        central[person[in_ds2]] = True
        return central
    subset = stratify(present, CENTRAL_SHARES, stream(seed, "central", source))
    return np.asarray(subset == 1)


def _main_class(positive: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class most of a patient's examples carry, the rarer of two.

    (patient, class) -> (patient,). Patients of no class share a number of their own.
    """
    rarity = np.argsort(np.argsort((positive > 0).sum(axis=0), kind="stable"))
    score = positive * positive.shape[1] - rarity
    main = np.where(positive.any(axis=1), score.argmax(axis=1), positive.shape[1])
    return np.asarray(main, dtype=np.int64)


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
    """The partition of exactly these examples; `DataError` if the file is of other data."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    where = {(r["source"], r["record"]): (r["site"], r["split"]) for r in rows}
    keys = list(zip(cohort.sources.tolist(), cohort.names.tolist(), strict=True))
    missing = [key for key in keys if key not in where]
    if missing or len(where) != len(keys):
        raise DataError(
            f"{path}: made from other data ({len(where)} records there, {len(keys)} here"
            + (f"; {missing[0][0]}/{missing[0][1]} is not in it" if missing else "")
            + "). Use the data it was made from, or make a new partition."
        )
    found = np.array([where[key] for key in keys], dtype=np.str_).reshape(-1, 2)
    return Partition(found[:, 0], found[:, 1])
