"""Partition schemes: how the patients of one source are dealt to its sites.

A new scheme is one class with `assign` and one line in `PARTITIONERS`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fl.util.errors import ConfigError

Ints = NDArray[np.int64]
MIN_SITE_PATIENTS = 4  # enough for a site to train, validate and test


@dataclass(frozen=True, kw_only=True)
class PatientTable:
    """What a scheme knows of the patients of one source: one row for each patient."""

    labels: Ints  # (patient,) number of the main class
    sizes: Ints  # (patient,) number of examples
    groups: NDArray[np.str_]  # (patient,) recorder, hospital or device; "" where unknown

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Ints) -> "PatientTable":
        """Only these patients, in this order."""
        return PatientTable(
            labels=self.labels[indices], sizes=self.sizes[indices], groups=self.groups[indices]
        )


@dataclass(frozen=True, kw_only=True)
class Scheme(ABC):
    """Deals patients, never records: a patient's records stay together."""

    sites: int  # number of sites
    alpha: float = 0.5  # > 0, of the Dirichlet schemes: small is uneven, large is even
    has_minimum: ClassVar[bool] = True  # sites that are too small are given more patients

    @abstractmethod
    def assign(self, patients: PatientTable, rng: np.random.Generator) -> Ints:
        """Site of each patient: (patient,) numbers from 0."""


@dataclass(frozen=True, kw_only=True)
class Iid(Scheme):
    """Similar sites: the patients of each class are dealt out in turn.

    The numbers per class, and in all, differ by one at most. Source: McMahan et al. 2017,
    arXiv:1602.05629. We differ: they deal at random, we stratify, so that small sites are similar
    too.
    """

    def assign(self, patients: PatientTable, rng: np.random.Generator) -> Ints:
        site_of = np.empty(len(patients), dtype=np.int64)
        site_of[_sorted_by_class(patients, rng)] = np.arange(len(patients)) % self.sites
        return site_of


@dataclass(frozen=True, kw_only=True)
class Dirichlet(Scheme):
    """Label-skewed sites: the patients of each label are dealt out by Dir(alpha).

    An alpha of 0.1 is about one label per site, 100 is nearly even. Source: Yurochkin et al.
    2019, arXiv:1905.12022; Hsu et al. 2019, arXiv:1909.06335. We deal patients, not records,
    so that no patient appears at two sites.
    """

    def assign(self, patients: PatientTable, rng: np.random.Generator) -> Ints:
        site_of = np.empty(len(patients), dtype=np.int64)
        for label in np.unique(patients.labels):
            with_label = rng.permutation(np.flatnonzero(patients.labels == label))
            shares = rng.dirichlet(np.full(self.sites, self.alpha))
            cuts = np.rint(shares.cumsum()[:-1] * len(with_label)).astype(int)
            for site, dealt in enumerate(np.split(with_label, cuts)):
                site_of[dealt] = site
        return site_of


@dataclass(frozen=True, kw_only=True)
class Quantity(Scheme):
    """Large and small sites with similar patients: shares of the records by Dir(alpha).

    Source: Li et al. 2022, 10.1109/ICDE53745.2022.00077 (arXiv:2102.02079).
    """

    def assign(self, patients: PatientTable, rng: np.random.Generator) -> Ints:
        order = rng.permutation(len(patients))
        sizes = patients.sizes[order]
        cuts = rng.dirichlet(np.full(self.sites, self.alpha)).cumsum()[:-1] * sizes.sum()
        site_of = np.empty(len(patients), dtype=np.int64)
        # A patient goes to the site into whose share the middle of the patient's records falls.
        site_of[order] = np.searchsorted(cuts, sizes.cumsum() - sizes / 2)
        return site_of


@dataclass(frozen=True, kw_only=True)
class Pathological(Scheme):
    """Few classes per site: patients sorted by class, cut into shards, two shards per site.

    Source: McMahan et al. 2017, arXiv:1602.05629. We differ in one thing: no shard has patients
    of two classes, so that two shards are at most two classes. If two classes per site are too few
    for all classes to have a site, each site gets more shards.
    """

    classes: int = 2  # main classes at a site, at most

    def assign(self, patients: PatientTable, rng: np.random.Generator) -> Ints:
        counts = np.unique(patients.labels, return_counts=True)[1]
        per_site = max(self.classes, -(-len(counts) // self.sites))
        shards = apportion(counts.astype(np.float64), per_site * self.sites)
        site_of_shard = rng.permutation(np.arange(shards.sum()) % self.sites)
        classes = np.split(_sorted_by_class(patients, rng), counts.cumsum()[:-1])
        patients_of_shard = [
            shard
            for of_class, n in zip(classes, shards, strict=True)
            for shard in np.array_split(of_class, n)
        ]
        site_of = np.empty(len(patients), dtype=np.int64)
        for shard, site in zip(patients_of_shard, site_of_shard, strict=True):
            site_of[shard] = site
        return site_of


@dataclass(frozen=True, kw_only=True)
class Natural(Scheme):
    """Sites as the data define them: by recorder, hospital or device, each kept whole.

    If there are more groups than sites, each group in random order joins the site that has the
    fewest records so far. Patients whose group is unknown are one group. Source: LEAF, Caldas et
    al. 2018, arXiv:1812.01097. Raises ConfigError if there are fewer groups than sites.
    """

    has_minimum: ClassVar[bool] = False  # a recorder with one patient is a site of one patient

    def assign(self, patients: PatientTable, rng: np.random.Generator) -> Ints:
        names, group = np.unique(patients.groups, return_inverse=True)
        if len(names) < self.sites:
            raise ConfigError(
                f"--partition is 'natural': {self.sites} sites need at least as many groups "
                f"(recorders, hospitals or devices), but there are {len(names)}. Use fewer sites "
                "or another partition."
            )
        records = np.zeros(self.sites)  # (site,) so far
        site_of_group = np.empty(len(names), dtype=np.int64)
        for number in rng.permutation(len(names)):
            site_of_group[number] = records.argmin()
            records[records.argmin()] += patients.sizes[group == number].sum()
        return np.asarray(site_of_group[group])


@dataclass(frozen=True, kw_only=True)
class Patients(Scheme):
    """Equal numbers of patients, dealt at random: sites differ as much as patients do."""

    def assign(self, patients: PatientTable, rng: np.random.Generator) -> Ints:
        return np.asarray(rng.permutation(np.arange(len(patients)) % self.sites))


def assign_with_minimum(scheme: Scheme, patients: PatientTable, rng: np.random.Generator) -> Ints:
    """The site of each patient, with no site too small to train, validate and test: (patient,).

    A Dirichlet draw can leave a site without patients. Such a site is given patients of the
    largest sites, at random, until it has four (or an even share, where that is less). Only
    `natural` sites stay as they are. Raises ConfigError if there are more sites than patients.
    """
    if scheme.sites > len(patients):
        raise ConfigError(
            f"--clients: {scheme.sites} sites of one source need at least as many patients, but "
            f"it has {len(patients)} to deal. Use fewer sites or more data."
        )
    site_of = scheme.assign(patients, rng)
    minimum = min(MIN_SITE_PATIENTS, len(patients) // scheme.sites) if scheme.has_minimum else 0
    while True:
        counts = np.bincount(site_of, minlength=scheme.sites)
        if counts.min() >= minimum:
            return site_of
        donors = np.flatnonzero(site_of == counts.argmax())
        site_of[rng.choice(donors)] = counts.argmin()


def apportion(weights: NDArray[np.float64], total: int) -> Ints:
    """Divide `total` things: one each, the rest in proportion to the weights: (n,) -> (n,).

    Rounded by the method of largest remainders.
    """
    rest = total - len(weights)
    quota = weights / weights.sum() * rest if len(weights) else weights
    counts = np.floor(quota).astype(np.int64)
    counts[np.argsort(counts - quota, kind="stable")[: rest - counts.sum()]] += 1
    return 1 + counts


def _sorted_by_class(patients: PatientTable, rng: np.random.Generator) -> Ints:
    """Numbers of the patients, sorted by class and in random order within a class."""
    order = rng.permutation(len(patients))
    return order[np.argsort(patients.labels[order], kind="stable")]


PARTITIONERS: dict[str, type[Scheme]] = {
    "iid": Iid,
    "dirichlet": Dirichlet,
    "quantity": Quantity,
    "pathological": Pathological,
    "natural": Natural,
    "patients": Patients,
}
