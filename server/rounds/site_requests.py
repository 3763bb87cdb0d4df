"""The sites of a run: which of them there are, and how the server sends them requests."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fl.ecg.tasks import TASKS, Task
from fl.messages.flower_codec import read_site_info, site_info_request
from fl.messages.job import Job
from fl.messages.payloads import SiteInfo
from fl.runs.listener import Listener
from fl.util.errors import FederationError
from partitions.splits import TEST, VAL
from server.engines.grid_base import collect
from server.rounds.history import FinishedTraining

TRAINING = "train"
REPLY_NAMES = {TRAINING: "update", VAL: "evaluation", TEST: "evaluation"}


@dataclass(frozen=True)
class Federation:
    """The sites that take part in a run, and the way to reach them."""

    grid: Grid
    job: Job
    nodes: Mapping[str, int]  # site -> node
    sites: Mapping[str, SiteInfo]
    listener: Listener
    finished: tuple[FinishedTraining, ...] = ()  # trainings of this run that are over

    @property
    def task(self) -> Task:
        return TASKS[self.job.config.task]

    @property
    def folder(self) -> Path:
        return Path(self.job.workspace)


def discover_sites(grid: Grid, job: Job, listener: Listener) -> Federation:
    """Ask every node which site it is. Every one must answer before a run begins."""
    nodes = _all_nodes(grid, job)
    requests = [site_info_request(job, node) for node in nodes]
    replies = collect(grid, requests, job.config.timeout, lambda reply: None)
    _require_answers(job, nodes, replies)
    answers = [(read_site_info(reply), reply.metadata.src_node_id) for reply in replies]
    answers.sort(key=lambda answer: answer[0].site)
    _check_site_identities(job, answers)
    return Federation(
        grid=grid,
        job=job,
        nodes={info.site: node for info, node in answers},
        sites={info.site: info for info, _ in answers},
        listener=listener,
    )


def _all_nodes(grid: Grid, job: Job) -> list[int]:
    """All nodes, once there is one for every site of the run: they may join after the server."""
    end = time.monotonic() + job.config.timeout
    while len(nodes := list(grid.get_node_ids())) < job.expected_sites:
        if time.monotonic() > end:
            raise FederationError(
                f"{len(nodes)} of {job.expected_sites} sites joined within "
                f"{job.config.timeout:g} s. Raise --timeout, or start the others."
            )
        time.sleep(0.1)
    return nodes


def _require_answers(job: Job, nodes: Sequence[int], replies: Sequence[Message]) -> None:
    """`FederationError` unless every node has answered, and none with an error."""
    site_of = {node: site for site, node in job.nodes.items()}  # in a deployment
    for reply in replies:
        if reply.has_error():
            site = site_of.get(reply.metadata.src_node_id, "A site")
            raise FederationError(f"{site} could not start: {reply.error.reason}")
    silent = sorted(set(nodes) - {reply.metadata.src_node_id for reply in replies})
    if silent:
        names = ", ".join(site_of.get(node, str(node)) for node in silent)
        raise FederationError(
            f"{len(silent)} of {len(nodes)} sites{f' ({names})' if site_of else ''} did not "
            f"answer within {job.config.timeout:g} s. Raise --timeout, or look at the sites."
        )


def _check_site_identities(job: Job, answers: Sequence[tuple[SiteInfo, int]]) -> None:
    """`FederationError` unless every node is the one approved for the site it speaks for."""
    for info, node in answers:
        if job.nodes and job.nodes.get(info.site) != node:
            raise FederationError(
                f"Node {node} calls itself {info.site!r}, for which its key was not approved."
            )


@dataclass(frozen=True, kw_only=True)
class SiteRequest:
    """One request to a site, and who reads the reply."""

    request: Message
    round_number: int
    doing: str  # TRAINING, VAL or TEST
    read: Callable[[str, Message], None]  # raises ValueError, KeyError or TypeError to refuse it


def send_requests(
    federation: Federation, requests: Mapping[str, SiteRequest]
) -> list[dict[str, Any]]:
    """Send one request to each of these sites, in this order; the failures, by name of site.

    Each reply is read as it comes and then emptied: those of many sites would fill memory.
    """
    site_of = {node: site for site, node in federation.nodes.items()}
    timeout = federation.job.config.timeout
    failed = {s: f"{r.doing}: no answer within {timeout:g} s" for s, r in requests.items()}

    def read_reply(reply: Message) -> None:
        site = site_of[reply.metadata.src_node_id]
        request = requests[site]
        note = (reply.error.reason or "failed") if reply.has_error() else ""
        federation.listener.site(request.round_number, site, request.doing, note)
        if note:
            failed[site] = f"{request.doing}: {note}"
            return
        try:
            request.read(site, reply)
        except (KeyError, ValueError, TypeError) as error:
            failed[site] = f"its {REPLY_NAMES[request.doing]} is refused: {error}"
        else:
            del failed[site]
        reply.content = RecordDict()

    collect(federation.grid, [r.request for r in requests.values()], timeout, read_reply)
    for site in sorted(failed):
        federation.listener.site(requests[site].round_number, site, "failed", failed[site])
    return [
        {"round": requests[site].round_number, "site": site, "reason": failed[site]}
        for site in sorted(failed)
    ]
