"""Which sites train in a round, and in which order they are asked."""

from collections.abc import Iterable, Mapping

from fl.util.random_streams import stream
from server.rounds.site_requests import Federation


def sample_sites(federation: Federation, number: int, n_seen: Mapping[str, int]) -> list[str]:
    """The round's sites, drawn by name from our own stream; those that take longest come first.

    A worker that gets the longest request last keeps all the others waiting. How long a site
    takes is known by the examples of its last training (`n_seen`): of a Holter's many windows an
    epoch takes a few.
    """
    config = federation.job.config
    able = [site for site, info in federation.sites.items() if info.n_train > 0]
    count = max(1, round(config.fraction * len(able)))
    rng = stream(config.seed, "sites", number)
    chosen = [able[i] for i in sorted(rng.permutation(len(able))[:count])]
    n_records = {site: info.n_records for site, info in federation.sites.items()}
    return longest_first(chosen, n_records | dict(n_seen))


def longest_first(sites: Iterable[str], load: Mapping[str, int]) -> list[str]:
    """Sites by how many examples a request takes, those with the most first."""
    return sorted(sites, key=lambda site: (-load[site], site))
