"""The round loop: ask Flower's strategy, send, check every reply, merge, measure, keep.

A site measures the weights it is sent before it trains them, so that a round is one visit: what
validation says of a round is known when the next one's visits are over.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flwr.app import Message
from flwr.serverapp.strategy import Strategy

from fl import wire
from fl.config import RunConfig
from fl.errors import FederationError
from fl.metrics import Thresholds
from fl.seeds import stream
from fl.weights import Weights, local_names
from partitions.splits import TEST, VAL
from server.checkpoints import Progress, Row, save_progress
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
from server.visits import Federation, History, Visit, make_visits


def run_rounds(federation: Federation, strategy: Strategy, progress: Progress) -> Progress:
    """Run the rounds that are left, and keep progress on disk after each."""
    config, name = federation.job.config, federation.job.strategy
    federation.listener.training(name, config.rounds, list(federation.sites.values()))
    clock = Clock()
    while progress.measured < config.rounds and not stalled(config, progress):
        if progress.unmeasured and may_be_the_last(config, progress):
            evaluated = evaluate_sites(federation, progress, progress.weights, progress.round, VAL)
            progress.unmeasured["seconds"] += clock.seconds()
            finish_round(federation, progress, evaluated)
        else:
            next_round(federation, strategy, progress, clock)
        keep(federation, progress)
    return progress


def keep(federation: Federation, progress: Progress) -> None:
    """Write a checkpoint."""
    save_progress(federation.folder / "checkpoint" / federation.job.strategy, progress)


@dataclass
class Clock:
    """Seconds from one reading to the next."""

    read: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Since the last reading."""
        before, self.read = self.read, time.monotonic()
        return self.read - before


def stalled(config: RunConfig, progress: Progress) -> bool:
    """Whether validation has not been better for `--patience` rounds."""
    return 0 < config.patience <= progress.measured - progress.best_round


def may_be_the_last(config: RunConfig, progress: Progress) -> bool:
    """Whether the training ends with its last merged round, for all that is known yet.

    Then the sites are not asked to train on while they measure it.
    """
    waited = progress.round - progress.best_round
    return progress.round == config.rounds or 0 < config.patience <= waited


def next_round(
    federation: Federation, strategy: Strategy, progress: Progress, clock: Clock
) -> None:
    """One more round. The visits that train it measure the one before, if nobody has yet."""
    update = visit_sites(federation, strategy, progress)
    finishes = bool(progress.unmeasured)
    if finishes:
        finish_round(federation, progress, measures(federation, progress, update))
    try:
        merge(federation, strategy, progress, update)
    except FederationError:
        if finishes:  # else a run that goes on would measure it again
            keep(federation, progress)
        raise
    progress.memory = memory(strategy)
    progress.unmeasured["seconds"] = clock.seconds()


def finish_round(
    federation: Federation, progress: Progress, evaluated: Sequence[wire.Evaluated]
) -> None:
    """The last merged round is measured: its lines, and whether it is the best so far."""
    known, progress.unmeasured = progress.unmeasured, {}
    row = measure(federation.task, federation.job.strategy, progress, evaluated) | known
    row["seconds"] = round(known["seconds"], 3)
    row["failures"] = sum(f["round"] == progress.round for f in progress.failures)
    progress.rounds.append(row)
    write_history(federation.folder, [*federation.finished, progress])
    federation.listener.round(row)


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


@dataclass(frozen=True, kw_only=True)
class Update:
    """What the visits of a round brought, by site; none of it is merged."""

    number: int  # of the round
    requests: Mapping[str, Message]  # of the sites that were to train
    shared: Weights  # entries that are merged, as they were sent
    trained: dict[str, wire.Trained] = field(default_factory=dict)
    evaluated: dict[str, wire.Evaluated] = field(default_factory=dict)  # of what was sent
    failures: list[Row] = field(default_factory=list)  # of this round and of the one measured


def visit_sites(federation: Federation, strategy: Strategy, progress: Progress) -> Update:
    """Let the next round's sites train, and all sites measure the last round if nobody has yet."""
    job, config, number = federation.job, federation.job.config, progress.round + 1
    chosen = choose_sites(federation, number, progress.seen)
    arrays = wire.pack(wire.with_control(progress.weights, progress.control))
    settings = wire.training_settings(job, measure=bool(progress.unmeasured))
    order = Chosen([federation.nodes[site] for site in chosen])
    asked = {
        m.metadata.dst_node_id: m for m in configure(strategy, number, arrays, settings, order)
    }
    local = local_names(config.strategy, config.model, config.task)
    update = Update(
        number=number,
        requests={site: asked[federation.nodes[site]] for site in chosen},
        shared={k: v for k, v in progress.weights.items() if k not in local},
    )
    shelf = shelf_for(len(chosen), update.shared, federation.folder)

    def read(site: str, reply: Message) -> None:
        if progress.unmeasured:
            # What is wrong with it is said of an evaluation that is asked for by itself.
            with suppress(KeyError, ValueError, TypeError):
                update.evaluated[site] = accepted(federation, wire.read_measured(reply))
        trained = wire.read_trained(reply)
        refuse_bad_weights(trained.weights, update.shared)
        refuse_bad_weights(trained.control, progress.control)
        refuse_bad_counts(trained, site, federation.task)
        update.trained[site] = trained if shelf is None else shelved(trained, shelf)

    visits = {
        site: Visit(request=request, number=number, doing="train", read=read)
        for site, request in update.requests.items()
    }
    if progress.unmeasured:
        others = federation.sites.keys() - visits.keys()
        visits |= evaluations(
            federation, progress.weights, progress.round, VAL, others, update.evaluated
        )
    update.failures.extend(make_visits(federation, visits))
    return update


def measures(federation: Federation, progress: Progress, update: Update) -> list[wire.Evaluated]:
    """What all sites say of the weights they were sent, in order of site name.

    A site from which they did not come with its training is asked once more, for them alone.
    """
    progress.failures += [f for f in update.failures if f["round"] == progress.round]
    missing = update.requests.keys() - update.evaluated.keys()
    again: list[wire.Evaluated] = []
    if missing:
        again = evaluate_sites(
            federation, progress, progress.weights, progress.round, VAL, sites=missing
        )
    return sorted([*update.evaluated.values(), *again], key=lambda e: e.site)


def merge(federation: Federation, strategy: Strategy, progress: Progress, update: Update) -> None:
    """Merge what the sites trained into `progress`; `FederationError` below the quorum."""
    config, number = federation.job.config, update.number
    trained = [update.trained[site] for site in sorted(update.trained)]
    failures = [f for f in update.failures if f["round"] == number]
    asked, needed = len(update.requests), math.ceil(config.quorum * len(update.requests))
    if len(trained) < needed:
        reasons = "; ".join(f"{f['site']}: {f['reason']}" for f in failures)
        raise FederationError(
            f"Round {number}: {len(trained)} of {asked} sites gave a usable update, "
            f"the quorum is {needed} (--quorum {config.quorum:g}). {reasons}"
        )
    said = weighed(trained, config.weighting)
    if STRATEGIES[config.strategy].averages and config.averaging == "evidence":
        said = by_evidence(said, progress.weights)
    # Written anew: Flower's strategies stop at a reply that holds more than the others do.
    merged = [wire.trained_reply(t, update.requests[t.site]) for t in said]
    result, _ = strategy.aggregate_train(number, merged)
    if result is None:
        raise FederationError(f"Round {number}: {type(strategy).__name__} gave no weights.")
    # Flower returns every entry as a float of its own making: names, shapes and types are ours.
    found, control = wire.split_control(wire.unpack(result))
    progress.weights |= {k: found[k].astype(v.dtype) for k, v in update.shared.items()}
    share = len(trained) / len(federation.sites)
    progress.control = merged_control(progress.control, control, share)
    progress.steps += sum(t.steps for t in trained)
    progress.seen |= {t.site: t.n_seen for t in trained}
    progress.failures += failures
    progress.round = number
    progress.unmeasured = {
        "participants": len(trained),
        "train_loss": mean_loss([(t.loss_sum, t.n_seen) for t in trained]),
    }


def shelved(trained: wire.Trained, shelf: Shelf) -> wire.Trained:
    """The same update, out of memory."""
    weights, control = shelf.put(trained.weights), shelf.put(trained.control)
    return replace(trained, weights=weights, control=control)


def accepted(federation: Federation, evaluated: wire.Evaluated) -> wire.Evaluated:
    """The same measures; `ValueError` if they cannot be added to the others'."""
    refuse_bad_tally(evaluated, len(federation.task.classes))
    refuse_bad_report(evaluated.report)
    return evaluated


def evaluations(
    federation: Federation,
    weights: Weights,
    number: int,
    split: str,
    sites: Iterable[str],
    found: dict[str, wire.Evaluated],
    thresholds: Mapping[str, Thresholds] | None = None,
) -> dict[str, Visit]:
    """Visits that measure weights, the longest first; what they bring goes into `found`."""
    job, arrays = federation.job, wire.pack(weights)

    def read(site: str, reply: Message) -> None:
        found[site] = accepted(federation, wire.read_evaluated(reply))

    hellos = federation.sites
    held = {s: hellos[s].n_val if split == VAL else hellos[s].n_test for s in sites}
    return {
        site: Visit(
            request=wire.evaluate_request(
                job, arrays, federation.nodes[site], number, split, thresholds
            ),
            number=number,
            doing=split,
            read=read,
        )
        for site in longest_first(held, held)
    }


def evaluate_sites(
    federation: Federation,
    progress: Progress,
    weights: Weights,
    number: int,
    split: str,
    thresholds: Mapping[str, Thresholds] | None = None,
    sites: Iterable[str] | None = None,
) -> list[wire.Evaluated]:
    """Measure weights at these sites, by default at all, in order of site name."""
    found: dict[str, wire.Evaluated] = {}
    asked = federation.sites if sites is None else sites
    visits = evaluations(federation, weights, number, split, asked, found, thresholds)
    progress.failures += make_visits(federation, visits)
    return [found[site] for site in sorted(found)]


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
