"""The sites of a run: who answered the roll call, and the visits to them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fl.ecg.tasks import TASKS, Task
from fl.messages.flower_codec import read_site_info, site_info_request
from fl.messages.job import Job
from fl.messages.payloads import SiteInfo
from fl.runs.history_tables import RoundRow, SiteRow
from fl.util.errors import FederationError
from partitions.splits import TEST, VAL
from server.engines.grid_base import collect
from server.rounds.checkpoints import Row

SENT = {"train": "update", VAL: "evaluation", TEST: "evaluation"}


class Listener(Protocol):
    """Whoever shows how a run is going."""

    def training(self, strategy: str, rounds: int, sites: Sequence[SiteInfo]) -> None:
        """A training of `rounds` rounds begins."""

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        """A site has finished `doing` ("train", "val", "test"), or failed: see `note`."""

    def round(self, row: RoundRow) -> None:
        """A round is over and measured: its line of rounds.csv."""

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        """A site that trains alone has finished a round, its last if `last`."""


class History(Protocol):
    """What a training has written down so far."""

    @property
    def rounds(self) -> list[RoundRow]: ...

    @property
    def sites(self) -> list[SiteRow]: ...


@dataclass(frozen=True)
class Federation:
    """The sites that answered the roll call, and the way to reach them."""

    grid: Grid
    job: Job
    nodes: Mapping[str, int]  # site -> node
    sites: Mapping[str, SiteInfo]
    listener: Listener
    finished: tuple[History, ...] = ()  # trainings of this run that are over

    @property
    def task(self) -> Task:
        return TASKS[self.job.config.task]

    @property
    def folder(self) -> Path:
        return Path(self.job.workspace)


def discover_sites(grid: Grid, job: Job, listener: Listener) -> Federation:
    """Ask every node which site it is. Every one must answer before a run begins."""
    nodes = _all_nodes(grid, job)
    messages = [site_info_request(job, node) for node in nodes]
    replies = collect(grid, messages, job.config.timeout, lambda message: None)
    known = {node: site for site, node in job.nodes.items()}
    for reply in replies:
        if reply.has_error():
            who = known.get(reply.metadata.src_node_id, "A site")
            raise FederationError(f"{who} could not start: {reply.error.reason}")
    silent = sorted(set(nodes) - {reply.metadata.src_node_id for reply in replies})
    if silent:
        names = f" ({', '.join(known.get(node, str(node)) for node in silent)})" if known else ""
        raise FederationError(
            f"{len(silent)} of {len(nodes)} sites{names} did not answer within "
            f"{job.config.timeout:g} s. Raise --timeout, or look at the sites."
        )
    answers = [(read_site_info(r), r.metadata.src_node_id) for r in replies]
    answers.sort(key=lambda pair: pair[0].site)
    _check_site_identities(job, answers)
    return Federation(
        grid,
        job,
        {hello.site: node for hello, node in answers},
        {hello.site: hello for hello, _ in answers},
        listener,
    )


def _check_site_identities(job: Job, answers: Sequence[tuple[SiteInfo, int]]) -> None:
    """`FederationError` unless every node is the one approved for the site it speaks for."""
    for hello, node in answers:
        if job.nodes and job.nodes.get(hello.site) != node:
            raise FederationError(
                f"Node {node} calls itself {hello.site!r}, for which its key was not approved."
            )


def _all_nodes(grid: Grid, job: Job) -> list[int]:
    """The nodes, once as many are there as the run has sites: they may join after the server."""
    end = time.monotonic() + job.config.timeout
    while len(nodes := list(grid.get_node_ids())) < job.expected_sites:
        if time.monotonic() > end:
            raise FederationError(
                f"{len(nodes)} of {job.expected_sites} sites joined within "
                f"{job.config.timeout:g} s. Raise --timeout, or start the others."
            )
        time.sleep(0.1)
    return nodes


@dataclass(frozen=True, kw_only=True)
class SiteRequest:
    """One request to a site, and who reads the reply."""

    request: Message
    number: int  # round
    doing: str  # "train", "val", "test"
    read: Callable[[str, Message], None]  # raises ValueError, KeyError or TypeError to refuse it


def send_requests(federation: Federation, visits: Mapping[str, SiteRequest]) -> list[Row]:
    """Visit these sites, in this order; the visits that failed, by name of site.

    Each reply is read as it comes and then emptied: those of many sites would fill memory.
    """
    site_of = {node: site for site, node in federation.nodes.items()}
    timeout = federation.job.config.timeout
    failed = {s: f"{v.doing}: no answer within {timeout:g} s" for s, v in visits.items()}

    def told(reply: Message) -> None:
        note = (reply.error.reason or "failed") if reply.has_error() else ""
        site = site_of[reply.metadata.src_node_id]
        visit = visits[site]
        federation.listener.site(visit.number, site, visit.doing, note)
        if note:
            failed[site] = f"{visit.doing}: {note}"
            return
        try:
            visit.read(site, reply)
        except (KeyError, ValueError, TypeError) as error:
            failed[site] = f"its {SENT[visit.doing]} is refused: {error}"
        else:
            del failed[site]
        reply.content = RecordDict()

    collect(federation.grid, [v.request for v in visits.values()], timeout, told)
    for site in sorted(failed):
        federation.listener.site(visits[site].number, site, "failed", failed[site])
    return [
        {"round": visits[site].number, "site": site, "reason": failed[site]}
        for site in sorted(failed)
    ]
