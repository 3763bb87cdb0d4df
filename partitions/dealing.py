"""Deal the patients of every source to sites, a central test set and an unseen source."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fl.data.cohort import Cohort
from fl.util.errors import ConfigError
from fl.util.random_streams import stream
from partitions.partition import CENTRAL, UNSEEN, Partition
from partitions.patients import patients_of_source
from partitions.schemes import PARTITIONERS, apportion, assign_with_minimum
from partitions.splits import TEST, split_site


def share_sites(
    sources: Mapping[str, int | None],
    recordings: Mapping[str, int],
    clients: int,
    most: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Number of sites of each source, `clients` in all; a number given for a source is kept.

    Each other source gets one site. The remaining sites are shared in proportion to the square
    root of the sources' recordings, by largest remainder: in plain proportion a small source
    would never have more than one. `most` is the largest possible number of sites of each source.
    Raises ConfigError if the numbers do not add up.
    """
    fixed = {name: n for name, n in sources.items() if n is not None}
    free = [name for name in sources if name not in fixed]
    unassigned = clients - sum(fixed.values())
    if unassigned < len(free) or (not free and unassigned != 0):
        needed = f"{sum(fixed.values())} by --sources" + (f" and {len(free)} more" if free else "")
        raise ConfigError(
            f"--clients is {clients}, but every source needs a site of its own: {needed}. "
            f"Sources: {', '.join(sources)}. Change --clients or --sources."
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
    """`ConfigError` if more sites are asked for than the sources have groups."""
    possible = sum(fixed.values()) + sum(most[name] for name in free)
    groups = ", ".join(f"{name} {n}" for name, n in most.items())
    if any(n > most[name] for name, n in fixed.items()) or possible < clients:
        raise ConfigError(
            f"--partition is 'natural' and --clients is {clients}, but each site needs a group "
            f"(recorder, hospital or device) of its own, and the sources have: {groups}. Use "
            f"--clients {sum(most.values())} or fewer, or another partition."
        )


def deal(
    cohort: Cohort,
    sites_of: Mapping[str, int],
    scheme: str,
    alpha: float,
    seed: int,
    holdout: str = "",
) -> Partition:
    """Deal every source's patients to its sites, and each site's patients to its splits.

    `sites_of` is the number of sites of each source. Central patients are set aside first, so
    that no site trains on them. `holdout` names a source or a site that becomes unseen: see
    `hold_out`.
    """
    site = np.full(len(cohort), "", dtype="U64")
    split = np.full(len(cohort), TEST, dtype="U5")
    names = iter(site_names(sum(sites_of.values())))
    for source, n_sites in sites_of.items():
        patients = patients_of_source(cohort, source, seed)
        site[patients.rows[patients.central[patients.number]]] = CENTRAL
        dealt = np.flatnonzero(~patients.central)
        if n_sites > len(dealt):
            raise ConfigError(
                f"--clients: {source} gets {n_sites} sites, but has {len(dealt)} patients to deal "
                f"to them ({patients.central.sum()} more are the central test set), and each site "
                f"needs one. Use fewer --clients, or fewer sites for {source} alone."
            )
        partitioner = PARTITIONERS[scheme](sites=n_sites, alpha=alpha)
        rng = stream(seed, "partition", source)
        site_of = assign_with_minimum(partitioner, patients.table.take(dealt), rng)
        held_by = np.full(len(patients.central), "", dtype=site.dtype)
        used_in = np.full(len(patients.central), TEST, dtype=split.dtype)
        for number in range(n_sites):
            name = next(names)
            at_site = dealt[site_of == number]
            # The random stream is named by the site alone: a hospital that splits its own
            # patients, without knowing the others, gets the same splits.
            held_by[at_site] = name
            used_in[at_site] = split_site(
                patients.positive[at_site] > 0, stream(seed, "split", name)
            )
        rows = patients.rows[~patients.central[patients.number]]
        number_of = patients.number[~patients.central[patients.number]]
        site[rows], split[rows] = held_by[number_of], used_in[number_of]
    return hold_out(Partition(site, split), cohort, holdout)


def site_names(total: int) -> list[str]:
    """`site-1`, `site-2`, ... all with as many digits as the last one needs."""
    return [f"site-{i:0{len(str(total))}d}" for i in range(1, total + 1)]


def hold_out(partition: Partition, cohort: Cohort, name: str) -> Partition:
    """The partition with a source or a site as the unseen test set, which no site trains on.

    An empty `name` changes nothing. Raises ConfigError if there is no such source or site, or if
    no site would be left.
    """
    if not name:
        return partition
    unseen = (cohort.sources == name) | (partition.site == name)
    training_sites = set(partition.site[~unseen].tolist()) - {CENTRAL, UNSEEN}
    if not unseen.any() or name in (CENTRAL, UNSEEN):
        raise ConfigError(
            f"--holdout is {name!r}. Accepted: a source or one site of the partition: "
            f"{', '.join(partition.sites)}."
        )
    if not training_sites:
        raise ConfigError(f"--holdout {name}: no site is left to train on. Use more sites.")
    return Partition(
        np.where(unseen, UNSEEN, partition.site), np.where(unseen, TEST, partition.split)
    )
