"""The round loop: ask Flower's strategy, send, check every reply, merge, measure, keep."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fl import wire
from fl.config import RunConfig
from fl.errors import FederationError
from fl.metrics import (
    Thresholds,
)
from fl.seeds import stream
from fl.tasks import TASKS, Task
from fl.weights import Weights, local_names
from partitions.splits import TEST, VAL
from server.checkpoints import Progress, Row, save_progress
from server.grids import collect
from server.refuse import (
    refuse_bad_counts,
    refuse_bad_report,
    refuse_bad_tally,
    refuse_bad_weights,
)
from server.shelf import Shelf, shelf_for
from server.strategies import (
    STRATEGIES,
    Chosen,
    by_evidence,
    configure,
    memory,
    merged_control,
    weighed,
)
from server.tables import ROUNDS, SITES, write_table
from server.validation import mean_loss, measure

SENT = {"train": "update", VAL: "evaluation", TEST: "evaluation"}
Reply = TypeVar("Reply")


class Listener(Protocol):
    """Whoever shows how a run is going."""

    def training(self, strategy: str, rounds: int, sites: Sequence[wire.Hello]) -> None:
        """A training of `rounds` rounds begins."""

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        """A site has finished `doing` ("train", "val", "test"), or failed: see `note`."""

    def round(self, row: Row) -> None:
        """A round is over: its line of rounds.csv."""

    def alone(self, site: str, row: Row, last: bool) -> None:
        """A site that trains alone has finished a round, its last if `last`."""


class History(Protocol):
    """What a training has written down so far."""

    @property
    def rounds(self) -> list[Row]: ...

    @property
    def sites(self) -> list[Row]: ...


@dataclass(frozen=True)
class Federation:
    """The sites that answered the roll call, and the way to reach them."""

    grid: Grid
    job: wire.Job
    nodes: Mapping[str, int]  # site -> node
    sites: Mapping[str, wire.Hello]
    listener: Listener
    finished: tuple[History, ...] = ()  # trainings of this run that are over

    @property
    def task(self) -> Task:
        return TASKS[self.job.config.task]

    @property
    def folder(self) -> Path:
        return Path(self.job.workspace)


def roll_call(grid: Grid, job: wire.Job, listener: Listener) -> Federation:
    """Ask every node which site it is. Every one must answer before a run begins."""
    nodes = _all_nodes(grid, job)
    messages = [wire.query(job, node) for node in nodes]
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
    answers = [(wire.read_hello(r), r.metadata.src_node_id) for r in replies]
    answers.sort(key=lambda pair: pair[0].site)
    _refuse_impostors(job, answers)
    return Federation(
        grid,
        job,
        {hello.site: node for hello, node in answers},
        {hello.site: hello for hello, _ in answers},
        listener,
    )


def _refuse_impostors(job: wire.Job, answers: Sequence[tuple[wire.Hello, int]]) -> None:
    """`FederationError` unless every node is the one approved for the site it speaks for."""
    for hello, node in answers:
        if job.nodes and job.nodes.get(hello.site) != node:
            raise FederationError(
                f"Node {node} calls itself {hello.site!r}, for which its key was not approved."
            )


def _all_nodes(grid: Grid, job: wire.Job) -> list[int]:
    """The nodes, once as many are there as the run has sites: they may join after the server."""
    end = time.monotonic() + job.config.timeout
    while len(nodes := list(grid.get_node_ids())) < job.expected:
        if time.monotonic() > end:
            raise FederationError(
                f"{len(nodes)} of {job.expected} sites joined within "
                f"{job.config.timeout:g} s. Raise --timeout, or start the others."
            )
        time.sleep(0.1)
    return nodes


def run_rounds(federation: Federation, strategy: Strategy, progress: Progress) -> Progress:
    """Run the rounds that are left, and keep progress on disk after each."""
    config, name = federation.job.config, federation.job.strategy
    federation.listener.training(name, config.rounds, list(federation.sites.values()))
    while progress.round < config.rounds and not stalled(config, progress):
        began = time.monotonic()
        number = progress.round + 1
        trained = train_round(federation, strategy, progress, number)
        evaluated = evaluate_sites(federation, progress, progress.weights, number, VAL)
        progress.round = number
        row = measure(federation.task, name, progress, evaluated)
        row |= {
            "seconds": round(time.monotonic() - began, 3),
            "participants": len(trained),
            "failures": sum(f["round"] == number for f in progress.failures),
            "train_loss": mean_loss([(t.loss_sum, t.n_seen) for t in trained]),
        }
        progress.rounds.append(row)
        progress.memory = memory(strategy)
        save_progress(federation.folder / "checkpoint" / name, progress)
        write_history(federation.folder, [*federation.finished, progress])
        federation.listener.round(row)
    return progress


def stalled(config: RunConfig, progress: Progress) -> bool:
    """Whether validation has not been better for `--patience` rounds."""
    return 0 < config.patience <= progress.round - progress.best_round


def write_history(folder: Path, trainings: Sequence[History]) -> None:
    """Write rounds.csv and sites.csv."""
    write_table(folder / "rounds.csv", ROUNDS, [row for p in trainings for row in p.rounds])
    write_table(folder / "sites.csv", SITES, [row for p in trainings for row in p.sites])


def choose_sites(federation: Federation, number: int, seen: Mapping[str, int]) -> list[str]:
    """The round's sites, drawn by name from our own stream; the longest visits come first.

    A worker that gets the longest visit last keeps all the others waiting. How long one takes
    is known by what the site's last visit saw (`seen`): of a Holter's windows an epoch takes a few.
    """
    config = federation.job.config
    able = [site for site, hello in federation.sites.items() if hello.n_train > 0]
    count = max(1, round(config.fraction * len(able)))
    rng = stream(config.seed, "sites", number)
    chosen = [able[i] for i in sorted(rng.permutation(len(able))[:count])]
    return longest_first(chosen, {s: h.n_train for s, h in federation.sites.items()} | dict(seen))


def longest_first(sites: Iterable[str], load: Mapping[str, int]) -> list[str]:
    """Sites by how many examples a visit takes, those of the most first."""
    return sorted(sites, key=lambda site: (-load[site], site))


def train_round(
    federation: Federation, strategy: Strategy, progress: Progress, number: int
) -> list[wire.Trained]:
    """One round of training; merges into `progress.weights` and returns what was merged."""
    job, config = federation.job, federation.job.config
    chosen = choose_sites(federation, number, progress.seen)
    arrays = wire.pack(wire.with_control(progress.weights, progress.control))
    local = local_names(config.strategy, config.model, config.task)
    shared = {k: v for k, v in progress.weights.items() if k not in local}
    order = [federation.nodes[site] for site in chosen]
    settings: ConfigRecord = wire.run_settings(job)
    requests = sorted(
        configure(strategy, number, arrays, settings, Chosen(order)),
        key=lambda m: order.index(m.metadata.dst_node_id),
    )
    shelf = shelf_for(len(chosen), shared, federation.folder)

    def read(site: str, reply: Message) -> wire.Trained:
        trained = wire.read_trained(reply)
        refuse_bad_weights(trained.weights, shared)
        refuse_bad_weights(trained.control, progress.control)
        refuse_bad_counts(trained, site, federation.task)
        return trained if shelf is None else shelved(trained, shelf)

    accepted = _ask(federation, progress, requests, chosen, number, "train", read)
    needed = math.ceil(config.quorum * len(chosen))
    if len(accepted) < needed:
        failed = {f["site"]: f["reason"] for f in progress.failures if f["round"] == number}
        reasons = "; ".join(f"{s}: {r}" for s, r in sorted(failed.items()))
        raise FederationError(
            f"Round {number}: {len(accepted)} of {len(chosen)} sites gave a usable update, "
            f"the quorum is {needed} (--quorum {config.quorum:g}). {reasons}"
        )
    # Written anew: Flower's strategies stop at a reply that holds more than the others do.
    asked = {m.metadata.dst_node_id: m for m in requests}
    said = weighed(accepted, config.weighting)
    if STRATEGIES[config.strategy].averages and config.averaging == "evidence":
        said = by_evidence(said, progress.weights)
    merged = [wire.trained_reply(t, asked[federation.nodes[t.site]]) for t in said]
    result, _ = strategy.aggregate_train(number, merged)
    if result is None:
        raise FederationError(f"Round {number}: {type(strategy).__name__} gave no weights.")
    # Flower returns every entry as a float of its own making: names, shapes and types are ours.
    found, control = wire.split_control(wire.unpack(result))
    progress.weights |= {k: found[k].astype(v.dtype) for k, v in shared.items()}
    share = len(accepted) / len(federation.sites)
    progress.control = merged_control(progress.control, control, share)
    progress.steps += sum(t.steps for t in accepted)
    progress.seen |= {t.site: t.n_seen for t in accepted}
    return accepted


def shelved(trained: wire.Trained, shelf: Shelf) -> wire.Trained:
    """The same update, out of memory."""
    weights, control = shelf.put(trained.weights), shelf.put(trained.control)
    return replace(trained, weights=weights, control=control)


def evaluate_sites(
    federation: Federation,
    progress: Progress,
    weights: Weights,
    number: int,
    split: str,
    thresholds: Mapping[str, Thresholds] | None = None,
) -> list[wire.Evaluated]:
    """Measure weights at every site, in order of site name."""
    job, arrays = federation.job, wire.pack(weights)
    held = {s: h.n_val if split == VAL else h.n_test for s, h in federation.sites.items()}
    requests = [
        wire.evaluate_request(job, arrays, federation.nodes[site], number, split, thresholds)
        for site in longest_first(federation.nodes, held)
    ]

    def read(site: str, reply: Message) -> wire.Evaluated:
        found = wire.read_evaluated(reply)
        refuse_bad_tally(found, len(federation.task.classes))
        refuse_bad_report(found.report)
        return found

    return _ask(federation, progress, requests, list(federation.nodes), number, split, read)


def _ask(
    federation: Federation,
    progress: Progress,
    requests: Sequence[Message],
    sites: Sequence[str],
    number: int,
    doing: str,
    read: Callable[[str, Message], Reply],
) -> list[Reply]:
    """Send requests; what was read of the replies, by name of site. A failure is named and counted.

    Each reply is read as it comes and then emptied: those of many sites would fill memory.
    """
    site_of = {node: site for site, node in federation.nodes.items()}
    timeout = federation.job.config.timeout
    found: dict[str, Reply] = {}
    failed = dict.fromkeys(sites, f"{doing}: no answer within {timeout:g} s")

    def told(reply: Message) -> None:
        note = (reply.error.reason or "failed") if reply.has_error() else ""
        site = site_of[reply.metadata.src_node_id]
        federation.listener.site(number, site, doing, note)
        if note:
            failed[site] = f"{doing}: {note}"
            return
        try:
            found[site] = read(site, reply)
        except (KeyError, ValueError, TypeError) as error:
            failed[site] = f"its {SENT[doing]} is refused: {error}"
        reply.content = RecordDict()

    collect(federation.grid, requests, timeout, told)
    for site in sorted(failed.keys() - found.keys()):
        _fail(federation, progress, number, site, failed[site])
    return [found[site] for site in sorted(found)]


def _fail(federation: Federation, progress: Progress, number: int, site: str, reason: str) -> None:
    progress.failures.append({"round": number, "site": site, "reason": reason})
    federation.listener.site(number, site, "failed", reason)


def final_measures(federation: Federation, progress: Progress) -> dict[str, dict[str, Any]]:
    """The best round's weights on every site's test records: the site's own measures."""
    evaluated = evaluate_sites(
        federation, progress, progress.best_weights, progress.best_round, TEST, progress.thresholds
    )
    progress.sites += [
        tested_row(federation.job.strategy, progress.best_round, e) for e in evaluated
    ]
    progress.steps += sum(e.steps for e in evaluated)
    return {e.site: e.report for e in evaluated}


def tested_row(strategy: str, best_round: int, evaluated: wire.Evaluated) -> Row:
    """A site's line of sites.csv for its test records."""
    report = evaluated.report
    return {
        "strategy": strategy,
        "round": best_round,
        "site": evaluated.site,
        "split": TEST,
        "n_records": evaluated.n_records,
        "loss": mean_loss([(evaluated.loss_sum, evaluated.n_records)]),
        "macro_f1": report["macro_f1"]["value"] if report else None,
        "macro_auroc": report["macro_auroc"]["value"] if report else None,
    }
