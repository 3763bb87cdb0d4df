"""How the patients of one source are dealt to its sites."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fl.errors import ConfigError

Ints = NDArray[np.int64]


class Partitioner(Protocol):
    """Deals patients, never records: a patient's records stay together."""

    @property
    def sites(self) -> int: ...

    def assign(self, labels: Ints, rng: np.random.Generator) -> Ints:
        """Site of each patient, from the patient's main class: (patient,) -> (patient,)."""


@dataclass(frozen=True, kw_only=True)
class Dirichlet:
    """Label-skewed sites: the patients of each label are dealt out by Dir(alpha).

    Source: Yurochkin et al. 2019, arXiv:1905.12022; Hsu et al. 2019, arXiv:1909.06335. We
    deal patients, not records, so that no patient appears at two sites.
    """

    sites: int
    alpha: float = 0.5  # > 0; 0.1 is about one label per site, 100 is nearly even

    def assign(self, labels: Ints, rng: np.random.Generator) -> Ints:
        """Site of each patient: (patient,) -> (patient,)."""
        site_of = np.empty(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            patients = rng.permutation(np.flatnonzero(labels == label))
            shares = rng.dirichlet(np.full(self.sites, self.alpha))
            cuts = np.rint(shares.cumsum()[:-1] * len(patients)).astype(int)
            for site, dealt in enumerate(np.split(patients, cuts)):
                site_of[dealt] = site
        return site_of


@dataclass(frozen=True, kw_only=True)
class Patients:
    """Equal numbers of patients, dealt at random: sites differ as patients do."""

    sites: int
    alpha: float = 0.5  # not used; every scheme is made from the same settings

    def assign(self, labels: Ints, rng: np.random.Generator) -> Ints:
        """Site of each patient: (patient,) -> (patient,)."""
        return np.asarray(rng.permutation(np.arange(len(labels)) % self.sites))


def assign_all(scheme: Partitioner, labels: Ints, rng: np.random.Generator) -> Ints:
    """A scheme's sites, with none left too small to train, validate and test.

    A Dirichlet draw can leave a site with no patient. Such a site is given patients from the
    largest ones, at random, until it holds four (or an even share, where that is less).
    """
    if scheme.sites > len(labels):
        raise ConfigError(
            f"--clients: {scheme.sites} sites need at least as many patients; "
            f"{len(labels)} patients are there. Use fewer sites or more data."
        )
    site_of = scheme.assign(labels, rng)
    enough = min(4, len(labels) // scheme.sites)
    while True:
        counts = np.bincount(site_of, minlength=scheme.sites)
        if counts.min() >= enough:
            return site_of
        donors = np.flatnonzero(site_of == counts.argmax())
        site_of[rng.choice(donors)] = counts.argmin()
