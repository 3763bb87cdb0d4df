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
from partitions.splits import TEST, TRAIN, VAL, split_site


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
        roll = patients_of_source(cohort, source, seed)
        site[roll.rows[roll.central[roll.person]]] = CENTRAL
        dealt = np.flatnonzero(~roll.central)
        partitioner = PARTITIONERS[scheme](sites=n_sites, alpha=alpha)
        rng = stream(seed, "partition", source)
        site_of = assign_with_minimum(partitioner, roll.people.take(dealt), rng)
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
