"""The round loop: ask Flower's strategy, send, check every reply, merge, measure, keep.

A site measures the weights it is sent before it trains them, so that a round is one visit: what
validation says of a round is known when the next one's visits are over.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp.strategy import Strategy

from fl.config.run_config import RunConfig
from fl.evaluation.thresholds import Thresholds
from fl.messages.flower_arrays import pack, with_control
from fl.messages.flower_codec import (
    evaluate_request,
    read_evaluated,
    read_measured,
    read_trained,
    training_settings,
)
from fl.messages.payloads import Evaluated
from fl.training.state_dict import Weights, local_names
from fl.util.errors import FederationError
from fl.util.random_streams import stream
from partitions.splits import VAL
from server.aggregation.flower_internals import Chosen, configure, memory
from server.aggregation.update_store import shelf_for
from server.rounds.checkpoints import Progress, save_progress
from server.rounds.history import write_history
from server.rounds.merging import Update, merge, shelved
from server.rounds.model_selection import measure
from server.rounds.reply_validation import (
    refuse_bad_counts,
    refuse_bad_report,
    refuse_bad_tally,
    refuse_bad_weights,
)
from server.rounds.site_requests import Federation, Visit, make_visits


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
    federation: Federation, progress: Progress, evaluated: Sequence[Evaluated]
) -> None:
    """The last merged round is measured: its lines, and whether it is the best so far."""
    known, progress.unmeasured = progress.unmeasured, {}
    row = measure(federation.task, federation.job.strategy, progress, evaluated) | known
    row["seconds"] = round(known["seconds"], 3)
    row["failures"] = sum(f["round"] == progress.round for f in progress.failures)
    progress.rounds.append(row)
    write_history(federation.folder, [*federation.finished, progress])
    federation.listener.round(row)


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


def visit_sites(federation: Federation, strategy: Strategy, progress: Progress) -> Update:
    """Let the next round's sites train, and all sites measure the last round if nobody has yet."""
    job, config, number = federation.job, federation.job.config, progress.round + 1
    chosen = choose_sites(federation, number, progress.seen)
    arrays = pack(with_control(progress.weights, progress.control))
    settings = training_settings(job, measure=bool(progress.unmeasured))
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
                update.evaluated[site] = accepted(federation, read_measured(reply))
        trained = read_trained(reply)
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


def measures(federation: Federation, progress: Progress, update: Update) -> list[Evaluated]:
    """What all sites say of the weights they were sent, in order of site name.

    A site from which they did not come with its training is asked once more, for them alone.
    """
    progress.failures += [f for f in update.failures if f["round"] == progress.round]
    missing = update.requests.keys() - update.evaluated.keys()
    again: list[Evaluated] = []
    if missing:
        again = evaluate_sites(
            federation, progress, progress.weights, progress.round, VAL, sites=missing
        )
    return sorted([*update.evaluated.values(), *again], key=lambda e: e.site)


def accepted(federation: Federation, evaluated: Evaluated) -> Evaluated:
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
    found: dict[str, Evaluated],
    thresholds: Mapping[str, Thresholds] | None = None,
) -> dict[str, Visit]:
    """Visits that measure weights, the longest first; what they bring goes into `found`."""
    job, arrays = federation.job, pack(weights)

    def read(site: str, reply: Message) -> None:
        found[site] = accepted(federation, read_evaluated(reply))

    hellos = federation.sites
    held = {s: hellos[s].n_val if split == VAL else hellos[s].n_test for s in sites}
    return {
        site: Visit(
            request=evaluate_request(
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
) -> list[Evaluated]:
    """Measure weights at these sites, by default at all, in order of site name."""
    found: dict[str, Evaluated] = {}
    asked = federation.sites if sites is None else sites
    visits = evaluations(federation, weights, number, split, asked, found, thresholds)
    progress.failures += make_visits(federation, visits)
    return [found[site] for site in sorted(found)]
