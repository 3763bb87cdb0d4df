"""Which sites of a round share masks and secrets with each other.

With few sites, all do. With many, each has `MOST_NEIGHBOURS` on a ring in an order drawn from
all public keys of the round: a Harary graph, as in Bell et al. 2020. The server does not choose it,
because every site works it out for itself.
"""

import hashlib
from collections.abc import Mapping

from fl.privacy.secure_aggregation.round_keys import KeyAnnouncement

MOST_NEIGHBOURS = 40  # even; up to one more site than this, each is everyone's neighbour


def neighbours_of(announced: Mapping[str, KeyAnnouncement], context: str, site: str) -> list[str]:
    """The neighbours of a site, by name."""
    if len(announced) <= MOST_NEIGHBOURS + 1:
        return sorted(announced.keys() - {site})
    order = _drawn_order(announced, context)
    place = order.index(site)
    half = MOST_NEIGHBOURS // 2
    around = [order[(place + step) % len(order)] for step in range(-half, half + 1) if step]
    return sorted(around)


def fewest_survivors(sites: int) -> int:
    """How many of so many sites must stay to the end: more than two thirds.

    A server that shows sites different lists of survivors then finds no two lists that enough of
    them sign, unless a third of the sites is its accomplice (Bonawitz et al. 2017, section 6.2).
    """
    return 2 * sites // 3 + 1


def fewest_shares(holders: int) -> int:
    """How many shares give a secret back: of more than half of those who hold one.

    Sites that are lost in the middle leave enough holders, and a third of them learns nothing.
    """
    return holders // 2 + 1


def _drawn_order(announced: Mapping[str, KeyAnnouncement], context: str) -> list[str]:
    everything = hashlib.sha256(context.encode())
    for name in sorted(announced):
        everything.update(announced[name].mask_key)
    seed = everything.digest()
    return sorted(announced, key=lambda name: hashlib.sha256(seed + name.encode()).digest())
