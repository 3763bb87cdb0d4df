"""Which sites tables, figures and pages name where there are too many for all of them."""

from collections.abc import Mapping

NO_SITE = ("central", "unseen")  # where records are that no site holds
MOST = 40  # sites that are all named
SHOWN = 20  # of more sites: those with the most patients


def shown_sites(
    patients: Mapping[str, int | None], most: int = MOST, shown: int = SHOWN
) -> tuple[str, ...]:
    """Sites by name, or of more than `most` the `shown` with the most patients.

    `patients` of each site; None or 0 where the number is not known.
    """
    if len(patients) <= most:
        return tuple(sorted(patients))
    largest = sorted(patients, key=lambda site: (-(patients[site] or 0), site))
    return tuple(sorted(largest[:shown]))


def not_shown(shown: int, all_sites: int, noun: str = "sites") -> str:
    """`980 of 1,000 sites, none with more patients, are not shown`; empty where all are."""
    if shown >= all_sites:
        return ""
    return f"{all_sites - shown:,} of {all_sites:,} {noun}, none with more patients, are not shown"
