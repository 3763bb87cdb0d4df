"""The sites of a run: which of them there are, and how the server sends them requests."""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fl.ecg.tasks import TASKS, Task
from fl.messages.flower_codec import read_site_info, site_info_request
from fl.messages.job import Job
from fl.messages.payloads import SiteInfo
from fl.messages.reply_signature import require_accepted
from fl.runs.listener import Listener
from fl.util.errors import FederationError
from fl.util.one_line import one_line
from partitions.splits import TEST, VAL
from server.engines.grid_base import Combining, collect
from server.engines.site_visits import Combine
from server.rounds.history import FinishedTraining
from server.rounds.reply_validation import validate_site_info

TRAINING = "train"
SECURE_STEP = "secure"  # a step of a secure sum without a result of its own
REPLY_NAMES = {
    TRAINING: "update",
    VAL: "evaluation",
    TEST: "evaluation",
    SECURE_STEP: "step of the secure sum",
}


@dataclass(frozen=True)
class Federation:
    """The sites that take part in a run, and the way to reach them."""

    grid: Grid
    job: Job
    nodes: dict[str, int]  # site -> node
    sites: dict[str, SiteInfo]  # in order of name, as they are
    listener: Listener
    finished: tuple[FinishedTraining, ...] = ()  # trainings of this run that are over
    refused: tuple[dict[str, Any], ...] = ()  # failures of those that take no part: see RunRecord
    declined: set[str] = field(default_factory=set)  # sites that are not asked to take part again

    @property
    def task(self) -> Task:
        return TASKS[self.job.config.task]

    @property
    def folder(self) -> Path:
        return Path(self.job.workspace)

    def add(self, info: SiteInfo, node: int) -> None:
        """Let another site take part, from now on."""
        self.nodes[info.site], self.sites[info.site] = node, info
        for site in sorted(self.nodes):
            self.nodes[site] = self.nodes.pop(site)
            self.sites[site] = self.sites.pop(site)


def sync_sites(federation: Federation) -> None:
    """Bring what simulated sites have written to the disk, before something counts on it.

    A few sites do so themselves.
    """
    if federation.job.synced_at_checkpoint:
        os.sync()


def discover_sites(grid: Grid, job: Job, listener: Listener) -> Federation:
    """Ask every node which site it is. Every one must answer before a run begins."""
    nodes = _all_nodes(grid, job)
    answers, refused = first_words(grid, job, nodes, job.config.timeout)
    needed = math.ceil(job.config.quorum * len(nodes))
    if len(answers) < needed:
        reasons = "; ".join(f"{f['site']}: {f['reason']}" for f in refused)
        raise FederationError(
            f"{len(answers)} of {len(nodes)} sites can take part, the quorum is {needed} (--quorum "
            f"{job.config.quorum:g}). {reasons}"
        )
    for failure in refused:
        listener.site(0, failure["site"], "failed", failure["reason"])
    return Federation(
        grid=grid,
        job=job,
        nodes={info.site: node for info, node in answers},
        sites={info.site: info for info, _ in answers},
        listener=listener,
        refused=tuple(refused),
        declined={failure["site"] for failure in refused},
    )


def first_words(
    grid: Grid, job: Job, nodes: Sequence[int], timeout: float
) -> tuple[list[tuple[SiteInfo, int]], list[dict[str, Any]]]:
    """Ask these nodes which site they are: the answers by name, and the failures of others."""
    requests = [site_info_request(job, node) for node in nodes]
    replies = collect(grid, requests, timeout, lambda reply: None)
    if not job.deployed:
        # The sites of a simulation are parts of one program: if one cannot start, none should.
        _require_answers(job, nodes, replies)
    return _first_words(job, nodes, replies, timeout)


def _first_words(
    job: Job, nodes: Sequence[int], replies: Sequence[Message], timeout: float
) -> tuple[list[tuple[SiteInfo, int]], list[dict[str, Any]]]:
    """What the sites answered to the first question, by name; and those whose answer is refused.

    A refused site is named by its node, unless its key was approved for a name: what it calls
    itself is not to be believed.
    """
    site_of = {node: site for site, node in job.nodes.items()}
    answers: dict[str, tuple[SiteInfo, int]] = {}
    reasons: dict[int, str] = {}
    by_node = {reply.metadata.src_node_id: reply for reply in replies}
    for node in sorted(nodes):
        if node not in by_node:
            reasons[node] = f"no answer within {timeout:g} s"
        elif by_node[node].has_error():
            reasons[node] = one_line(by_node[node].error.reason or "failed")
        else:
            try:
                require_accepted(by_node[node])
                info = read_site_info(by_node[node])
                validate_site_info(info)
                _require_own_name(job, info, node)
                if info.site in answers:
                    raise ValueError(f"it calls itself {info.site!r}, as another does")
            except MemoryError:  # of this machine
                raise
            except Exception as error:
                reasons[node] = f"its first answer is refused: {refusal(error)}"
            else:
                answers[info.site] = info, node
    refused = [
        {"round": 0, "site": site_of.get(node, f"node {node}"), "reason": reason}
        for node, reason in reasons.items()
    ]
    return [answers[site] for site in sorted(answers)], refused


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
            raise FederationError(
                f"{site} could not start: {one_line(reply.error.reason or 'failed')}"
            )
    silent = sorted(set(nodes) - {reply.metadata.src_node_id for reply in replies})
    if silent:
        names = ", ".join(site_of.get(node, str(node)) for node in silent)
        raise FederationError(
            f"{len(silent)} of {len(nodes)} sites{f' ({names})' if site_of else ''} did not "
            f"answer within {job.config.timeout:g} s. Raise --timeout, or look at the sites."
        )


def _require_own_name(job: Job, info: SiteInfo, node: int) -> None:
    """`ValueError` unless the node is the one approved for the site it speaks for."""
    if job.nodes and job.nodes.get(info.site) != node:
        raise ValueError(f"it calls itself {info.site!r}, for which its key was not approved")


def refusal(error: Exception) -> str:
    """Why a reply is refused, in one line; an error that none of our checks raised is named."""
    if isinstance(error, ValueError):
        return one_line(str(error))
    logging.getLogger("heartfed").info("a reply cannot be read", exc_info=error)
    return one_line(f"it cannot be read ({type(error).__name__}: {error})")


@dataclass(frozen=True, kw_only=True)
class SiteRequest:
    """One request to a site, and who reads the reply."""

    request: Message
    round_number: int
    doing: str  # TRAINING, VAL or TEST
    read: Callable[[str, Message], None]  # raises ValueError to refuse it


@dataclass(frozen=True, kw_only=True)
class Summing:
    """How several sites' replies become one where they are made, and who reads that one."""

    combine: Combine
    read: Callable[[Any], None]


def send_requests(
    federation: Federation, requests: Mapping[str, SiteRequest], summing: Summing | None = None
) -> list[dict[str, Any]]:
    """Send one request to each of these sites, in this order; the failures, by name of site.

    Each reply is read as it comes and then emptied: those of many sites would fill memory. With
    `summing` one answer may stand for the replies of several sites.
    """
    site_of = {node: site for site, node in federation.nodes.items()}
    timeout = federation.job.config.timeout
    failed = {s: f"{r.doing}: no answer within {timeout:g} s" for s, r in requests.items()}

    def read_reply(reply: Message) -> None:
        site = site_of[reply.metadata.src_node_id]
        request = requests[site]
        note = one_line(reply.error.reason or "failed") if reply.has_error() else ""
        if request.doing != SECURE_STEP:
            federation.listener.site(request.round_number, site, request.doing, note)
        if note:
            failed[site] = f"{request.doing}: {note}"
            return
        try:
            require_accepted(reply)
            request.read(site, reply)
        except MemoryError:  # of this machine
            raise
        except Exception as error:
            # Whatever a reply does to whoever reads it, it costs its own site alone.
            failed[site] = f"its {REPLY_NAMES[request.doing]} is refused: {refusal(error)}"
        else:
            del failed[site]
        reply.content = RecordDict()

    def read_summed(answered: Sequence[Message], answer: Any) -> None:
        for message in answered:
            site = site_of[message.metadata.dst_node_id]
            request = requests[site]
            federation.listener.site(request.round_number, site, request.doing, "")
            del failed[site]
        if summing is not None:
            summing.read(answer)

    combining = Combining(combine=summing.combine, read=read_summed) if summing else None
    sent = [r.request for r in requests.values()]
    collect(federation.grid, sent, timeout, read_reply, combining)
    for site in sorted(failed):
        federation.listener.site(requests[site].round_number, site, "failed", failed[site])
    return [
        {"round": requests[site].round_number, "site": site, "reason": failed[site]}
        for site in sorted(failed)
    ]
