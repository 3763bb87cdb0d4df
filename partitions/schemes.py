"""How the patients of one source are dealt to its sites."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fl.util.errors import ConfigError

Ints = NDArray[np.int64]
MIN_SITE_PATIENTS = 4  # patients that let a site train, validate and test


@dataclass(frozen=True, kw_only=True)
class PatientTable:
    """The patients of one source, as a scheme sees them: one entry each."""

    labels: Ints  # (patient,) main class
    sizes: Ints  # (patient,) examples
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

    sites: int
    alpha: float = 0.5  # > 0, how even: only the schemes by Dirichlet use it
    topped_up: ClassVar[bool] = True  # sites that came out too small are given more patients

    @abstractmethod
    def assign(self, people: PatientTable, rng: np.random.Generator) -> Ints:
        """Site of each patient: (patient,) numbers from 0."""


@dataclass(frozen=True, kw_only=True)
class Iid(Scheme):
    """Sites that are alike: the patients of each class are dealt out in turn.

    Numbers per class, and in all, differ by one at most. Source of the setting: McMahan et al.
    2017, arXiv:1602.05629, where it is by chance; we stratify, so that small sites are alike too.
    """

    def assign(self, people: PatientTable, rng: np.random.Generator) -> Ints:
        site_of = np.empty(len(people), dtype=np.int64)
        site_of[_by_class(people, rng)] = np.arange(len(people)) % self.sites
        return site_of


@dataclass(frozen=True, kw_only=True)
class Dirichlet(Scheme):
    """Label-skewed sites: the patients of each label are dealt out by Dir(alpha).

    An alpha of 0.1 is about one label per site, 100 is nearly even. Source: Yurochkin et al.
    2019, arXiv:1905.12022; Hsu et al. 2019, arXiv:1909.06335. We deal patients, not records,
    so that no patient appears at two sites.
    """

    def assign(self, people: PatientTable, rng: np.random.Generator) -> Ints:
        site_of = np.empty(len(people), dtype=np.int64)
        for label in np.unique(people.labels):
            patients = rng.permutation(np.flatnonzero(people.labels == label))
            shares = rng.dirichlet(np.full(self.sites, self.alpha))
            cuts = np.rint(shares.cumsum()[:-1] * len(patients)).astype(int)
            for site, dealt in enumerate(np.split(patients, cuts)):
                site_of[dealt] = site
        return site_of


@dataclass(frozen=True, kw_only=True)
class Quantity(Scheme):
    """Large and small sites of the same kind of patients: shares of the records by Dir(alpha).

    Source: Li et al. 2022, 10.1109/ICDE53745.2022.00077 (arXiv:2102.02079).
    """

    def assign(self, people: PatientTable, rng: np.random.Generator) -> Ints:
        order = rng.permutation(len(people))
        sizes = people.sizes[order]
        cuts = rng.dirichlet(np.full(self.sites, self.alpha)).cumsum()[:-1] * sizes.sum()
        site_of = np.empty(len(people), dtype=np.int64)
        # A patient belongs where the middle of its records falls.
        site_of[order] = np.searchsorted(cuts, sizes.cumsum() - sizes / 2)
        return site_of


@dataclass(frozen=True, kw_only=True)
class Pathological(Scheme):
    """Few classes per site: patients sorted by class, cut into shards, two shards per site.

    Source: McMahan et al. 2017, arXiv:1602.05629. We differ in one thing: no shard crosses
    from one class into the next, so that two is a promise. With more classes than two per site
    there are as many shards per site as it takes to leave nobody out.
    """

    classes: int = 2  # most main classes at a site

    def assign(self, people: PatientTable, rng: np.random.Generator) -> Ints:
        counts = np.unique(people.labels, return_counts=True)[1]
        per_site = max(self.classes, -(-len(counts) // self.sites))
        shards = apportion(counts.astype(np.float64), per_site * self.sites)
        site_of_shard = rng.permutation(np.arange(shards.sum()) % self.sites)
        pieces = [
            piece
            for patients, n in zip(
                np.split(_by_class(people, rng), counts.cumsum()[:-1]), shards, strict=True
            )
            for piece in np.array_split(patients, n)
        ]
        site_of = np.empty(len(people), dtype=np.int64)
        for piece, site in zip(pieces, site_of_shard, strict=True):
            site_of[piece] = site
        return site_of


@dataclass(frozen=True, kw_only=True)
class Natural(Scheme):
    """Sites as the data have them: by recorder, hospital or device, each kept whole.

    With more groups than sites, groups in random order join the site that has fewest records.
    Patients whose group is not known are one group. Source of the idea: LEAF, Caldas et al.
    2018, arXiv:1812.01097.
    """

    topped_up: ClassVar[bool] = False  # a recorder with one patient is a site of one patient

    def assign(self, people: PatientTable, rng: np.random.Generator) -> Ints:
        names, group = np.unique(people.groups, return_inverse=True)
        if len(names) < self.sites:
            raise ConfigError(
                f"--partition is 'natural': {self.sites} sites need at least as many groups "
                f"(recorders, hospitals or devices); {len(names)} are there. Use fewer sites or "
                "another partition."
            )
        held = np.zeros(self.sites)
        site_of_group = np.empty(len(names), dtype=np.int64)
        for number in rng.permutation(len(names)):
            site_of_group[number] = held.argmin()
            held[held.argmin()] += people.sizes[group == number].sum()
        return np.asarray(site_of_group[group])


@dataclass(frozen=True, kw_only=True)
class Patients(Scheme):
    """Equal numbers of patients, dealt at random: sites differ as patients do."""

    def assign(self, people: PatientTable, rng: np.random.Generator) -> Ints:
        return np.asarray(rng.permutation(np.arange(len(people)) % self.sites))


def assign_with_minimum(scheme: Scheme, people: PatientTable, rng: np.random.Generator) -> Ints:
    """A scheme's sites, with none left too small to train, validate and test.

    A Dirichlet draw can leave a site with no patient. Such a site is given patients from the
    largest ones, at random, until it holds four (or an even share, where that is less). Only
    `natural` sites stay as they are.
    """
    if scheme.sites > len(people):
        raise ConfigError(
            f"--clients: one source's share, {scheme.sites} sites, need at least as many "
            f"patients; it has {len(people)} to deal. Use fewer sites or more data."
        )
    site_of = scheme.assign(people, rng)
    enough = min(MIN_SITE_PATIENTS, len(people) // scheme.sites) if scheme.topped_up else 0
    while True:
        counts = np.bincount(site_of, minlength=scheme.sites)
        if counts.min() >= enough:
            return site_of
        donors = np.flatnonzero(site_of == counts.argmax())
        site_of[rng.choice(donors)] = counts.argmin()


def apportion(weights: NDArray[np.float64], total: int) -> Ints:
    """One each, and the rest in proportion to the weights by largest remainder."""
    spare = total - len(weights)
    quota = weights / weights.sum() * spare if len(weights) else weights
    counts = np.floor(quota).astype(np.int64)
    counts[np.argsort(counts - quota, kind="stable")[: spare - counts.sum()]] += 1
    return 1 + counts


def _by_class(people: PatientTable, rng: np.random.Generator) -> Ints:
    """Patients in order of class, within a class in random order."""
    order = rng.permutation(len(people))
    return order[np.argsort(people.labels[order], kind="stable")]


PARTITIONERS: dict[str, type[Scheme]] = {
    "iid": Iid,
    "dirichlet": Dirichlet,
    "quantity": Quantity,
    "pathological": Pathological,
    "natural": Natural,
    "patients": Patients,
}
