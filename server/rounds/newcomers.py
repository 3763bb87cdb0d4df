"""Hospitals that are connected after a run has begun take part from its next round on."""

from typing import Any

from server.rounds.site_requests import Federation, first_words

SECONDS = 60.0  # at most, that a round waits for the first words of such hospitals
JOINED = "joined"  # what a listener hears of them


def admit_newcomers(federation: Federation, number: int) -> list[dict[str, Any]]:
    """Add the run's hospitals that are connected now and were not before; those refused.

    All were approved when the run began. One whose first words are refused is not asked again
    before the run is resumed. `number`: the round that is about to begin.
    """
    job, known = federation.job, federation.nodes.keys() | federation.declined
    if not job.deployed or job.nodes.keys() <= known:
        return []
    connected = set(federation.grid.get_node_ids())
    nodes = [node for site, node in job.nodes.items() if site not in known and node in connected]
    if not nodes:
        return []
    timeout = min(SECONDS, job.config.timeout)
    answers, refused = first_words(federation.grid, job, nodes, timeout)
    for failure in refused:
        failure["round"] = number
        federation.declined.add(failure["site"])
        federation.listener.site(number, failure["site"], "failed", failure["reason"])
    for info, node in answers:
        federation.add(info, node)
        note = f"takes part from now on, with {info.n_train} training patients"
        federation.listener.site(number, info.site, JOINED, note)
    if answers:
        sites = list(federation.sites.values())
        federation.listener.training(job.strategy, job.config.rounds, sites)
    return refused
