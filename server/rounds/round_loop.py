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
from fl.messages.flower_arrays import to_array_record, with_control
from fl.messages.flower_codec import (
    evaluation_request,
    read_evaluation_reply,
    read_incoming_validation,
    read_training_reply,
    training_settings,
)
from fl.messages.payloads import EvaluationReply
from fl.runs.history_tables import RoundRow
from fl.training.state_dict import Weights, local_entries
from fl.util.errors import FederationError
from fl.util.random_streams import stream
from partitions.splits import VAL
from server.aggregation.flower_internals import SelectedNodes, configure, strategy_memory
from server.aggregation.update_store import update_store_for
from server.rounds.checkpoints import TrainingProgress, save_progress
from server.rounds.history import write_history
from server.rounds.merging import RoundUpdates, merge, store_update
from server.rounds.model_selection import validate_round
from server.rounds.reply_validation import (
    validate_counts,
    validate_histograms,
    validate_report,
    validate_weights,
)
from server.rounds.site_requests import Federation, SiteRequest, send_requests


def run_rounds(
    federation: Federation, strategy: Strategy, progress: TrainingProgress
) -> TrainingProgress:
    """Run the rounds that are left, and keep progress on disk after each."""
    config, name = federation.job.config, federation.job.strategy
    federation.listener.training(name, config.rounds, list(federation.sites.values()))
    clock = Clock()
    while progress.validated_rounds < config.rounds and not out_of_patience(config, progress):
        if progress.unvalidated and may_be_last_round(config, progress):
            evaluated = evaluate_sites(federation, progress, progress.weights, progress.round, VAL)
            progress.unvalidated["seconds"] += clock.seconds()
            finish_round(federation, progress, evaluated)
        else:
            next_round(federation, strategy, progress, clock)
        write_checkpoint(federation, progress)
    return progress


def write_checkpoint(federation: Federation, progress: TrainingProgress) -> None:
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


def out_of_patience(config: RunConfig, progress: TrainingProgress) -> bool:
    """Whether validation has not been better for `--patience` rounds."""
    return 0 < config.patience <= progress.validated_rounds - progress.best_round


def may_be_last_round(config: RunConfig, progress: TrainingProgress) -> bool:
    """Whether the training ends with its last merged round, for all that is known yet.

    Then the sites are not asked to train on while they measure it.
    """
    waited = progress.round - progress.best_round
    return progress.round == config.rounds or 0 < config.patience <= waited


def next_round(
    federation: Federation, strategy: Strategy, progress: TrainingProgress, clock: Clock
) -> None:
    """One more round. The visits that train it measure the one before, if nobody has yet."""
    update = train_sites(federation, strategy, progress)
    finishes = bool(progress.unvalidated)
    if finishes:
        finish_round(federation, progress, collect_validation(federation, progress, update))
    try:
        merge(federation, strategy, progress, update)
    except FederationError:
        if finishes:  # else a run that goes on would measure it again
            write_checkpoint(federation, progress)
        raise
    progress.memory = strategy_memory(strategy)
    progress.unvalidated["seconds"] = clock.seconds()


def finish_round(
    federation: Federation, progress: TrainingProgress, evaluated: Sequence[EvaluationReply]
) -> None:
    """The last merged round is measured: its lines, and whether it is the best so far."""
    known, progress.unvalidated = progress.unvalidated, {}
    measured = validate_round(federation.task, federation.job.strategy, progress, evaluated)
    known["seconds"] = round(known["seconds"], 3)
    failures = sum(f["round"] == progress.round for f in progress.failures)
    row = RoundRow(**measured, **known, failures=failures)
    progress.rounds.append(row)
    write_history(federation.folder, [*federation.finished, progress])
    federation.listener.round(row)


def sample_sites(federation: Federation, number: int, seen: Mapping[str, int]) -> list[str]:
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


def train_sites(
    federation: Federation, strategy: Strategy, progress: TrainingProgress
) -> RoundUpdates:
    """Let the next round's sites train, and all sites measure the last round if nobody has yet."""
    job, config, number = federation.job, federation.job.config, progress.round + 1
    chosen = sample_sites(federation, number, progress.seen)
    arrays = to_array_record(with_control(progress.weights, progress.control))
    settings = training_settings(job, measure=bool(progress.unvalidated))
    order = SelectedNodes([federation.nodes[site] for site in chosen])
    asked = {
        m.metadata.dst_node_id: m for m in configure(strategy, number, arrays, settings, order)
    }
    local = local_entries(config.strategy, config.model, config.task)
    update = RoundUpdates(
        number=number,
        requests={site: asked[federation.nodes[site]] for site in chosen},
        shared={k: v for k, v in progress.weights.items() if k not in local},
    )
    shelf = update_store_for(len(chosen), update.shared, federation.folder)

    def read(site: str, reply: Message) -> None:
        if progress.unvalidated:
            # What is wrong with it is said of an evaluation that is asked for by itself.
            with suppress(KeyError, ValueError, TypeError):
                update.evaluated[site] = validated_evaluation(
                    federation, read_incoming_validation(reply)
                )
        trained = read_training_reply(reply)
        validate_weights(trained.weights, update.shared)
        validate_weights(trained.control, progress.control)
        validate_counts(trained, site, federation.task)
        update.trained[site] = trained if shelf is None else store_update(trained, shelf)

    visits = {
        site: SiteRequest(request=request, number=number, doing="train", read=read)
        for site, request in update.requests.items()
    }
    if progress.unvalidated:
        others = federation.sites.keys() - visits.keys()
        visits |= evaluation_requests(
            federation, progress.weights, progress.round, VAL, others, update.evaluated
        )
    update.failures.extend(send_requests(federation, visits))
    return update


def collect_validation(
    federation: Federation, progress: TrainingProgress, update: RoundUpdates
) -> list[EvaluationReply]:
    """What all sites say of the weights they were sent, in order of site name.

    A site from which they did not come with its training is asked once more, for them alone.
    """
    progress.failures += [f for f in update.failures if f["round"] == progress.round]
    missing = update.requests.keys() - update.evaluated.keys()
    again: list[EvaluationReply] = []
    if missing:
        again = evaluate_sites(
            federation, progress, progress.weights, progress.round, VAL, sites=missing
        )
    return sorted([*update.evaluated.values(), *again], key=lambda e: e.site)


def validated_evaluation(federation: Federation, evaluated: EvaluationReply) -> EvaluationReply:
    """The same measures; `ValueError` if they cannot be added to the others'."""
    validate_histograms(evaluated, len(federation.task.classes))
    validate_report(evaluated.report)
    return evaluated


def evaluation_requests(
    federation: Federation,
    weights: Weights,
    number: int,
    split: str,
    sites: Iterable[str],
    found: dict[str, EvaluationReply],
    thresholds: Mapping[str, Thresholds] | None = None,
) -> dict[str, SiteRequest]:
    """Visits that measure weights, the longest first; what they bring goes into `found`."""
    job, arrays = federation.job, to_array_record(weights)

    def read(site: str, reply: Message) -> None:
        found[site] = validated_evaluation(federation, read_evaluation_reply(reply))

    hellos = federation.sites
    held = {s: hellos[s].n_val if split == VAL else hellos[s].n_test for s in sites}
    return {
        site: SiteRequest(
            request=evaluation_request(
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
    progress: TrainingProgress,
    weights: Weights,
    number: int,
    split: str,
    thresholds: Mapping[str, Thresholds] | None = None,
    sites: Iterable[str] | None = None,
) -> list[EvaluationReply]:
    """Measure weights at these sites, by default at all, in order of site name."""
    found: dict[str, EvaluationReply] = {}
    asked = federation.sites if sites is None else sites
    visits = evaluation_requests(federation, weights, number, split, asked, found, thresholds)
    progress.failures += send_requests(federation, visits)
    return [found[site] for site in sorted(found)]
