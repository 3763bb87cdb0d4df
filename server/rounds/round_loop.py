"""The round loop: ask Flower's strategy, send, check every reply, merge, validate, save.

A site validates the weights it is sent before it trains them, so that a round needs one request
to each site: the validation of a round is known when the requests of the next one are answered.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from flwr.app import Message
from flwr.serverapp.strategy import Strategy

from fl.config.run_config import RunConfig
from fl.messages.flower_arrays import to_array_record, with_extra
from fl.messages.flower_codec import (
    ARRAYS,
    read_incoming_validation,
    read_training_reply,
    training_settings,
)
from fl.messages.payloads import EvaluationReply
from fl.messages.round_vector import ALL_SITES
from fl.privacy.differential_privacy.guarantee import is_private, validation_noise
from fl.privacy.differential_privacy.private_histograms import count_noise
from fl.runs.history_tables import RoundRow
from fl.training.state_dict import Weights, unmerged_entries
from fl.util.errors import FederationError
from partitions.splits import VAL
from server.aggregation.flower_internals import (
    forget_merged_arrays,
    memory_is_saved,
    strategy_memory,
)
from server.aggregation.kept_updates import KeptUpdates
from server.aggregation.selected_nodes import configure_round
from server.rounds.checkpoints import TrainingProgress, save_progress
from server.rounds.evaluation_validation import validate_evaluation
from server.rounds.history import write_history
from server.rounds.merging import (
    RoundUpdates,
    adding_of,
    merge,
    summing_of,
    take_back_long_updates,
)
from server.rounds.model_selection import validate_private_round, validate_round
from server.rounds.newcomers import admit_newcomers
from server.rounds.reply_validation import UpdateCheck
from server.rounds.secure_rounds import SecureRound, secure_validation
from server.rounds.site_evaluation import evaluate_sites, evaluation_requests
from server.rounds.site_requests import (
    TRAINING,
    Federation,
    SiteRequest,
    send_requests,
    sync_sites,
)
from server.rounds.site_sampling import sample_sites
from server.rounds.weight_averaging import (
    finish_mean,
    mean_weights,
    remember_round,
    rounds_to_average,
)


def run_rounds(
    federation: Federation, strategy: Strategy, progress: TrainingProgress
) -> TrainingProgress:
    """Run the rounds that are left, and keep progress on disk after each."""
    config, name = federation.job.config, federation.job.strategy
    federation.listener.training(name, config.rounds, list(federation.sites.values()))
    clock = Clock()
    while rounds_left(config, progress):
        progress.failures += admit_newcomers(federation, progress.round + 1)
        if progress.unvalidated and may_be_last_round(config, progress):
            evaluated = validate_everywhere(federation, progress, progress.weights)
            progress.unvalidated["seconds"] += clock.seconds()
            finish_round(federation, progress, evaluated)
        else:
            next_round(federation, strategy, progress, clock)
        write_checkpoint(federation, progress)
    validate_mean(federation, progress)
    return progress


def validate_mean(federation: Federation, progress: TrainingProgress) -> None:
    """Let the sites validate the mean of the last rounds, where the run asks for one.

    No checkpoint follows: a resumed run asks again and gets the same answers.
    """
    if not rounds_to_average(progress):
        return
    clock, known = Clock(), len(progress.failures)
    job = federation.job
    mean = mean_weights(progress, unmerged_entries(job.config))
    evaluated = validate_everywhere(federation, progress, mean)
    row = finish_mean(
        federation.task,
        job.strategy,
        progress,
        mean,
        evaluated,
        seconds=round(clock.seconds(), 3),
        participants=len(evaluated),
        failures=len(progress.failures) - known,
    )
    write_history(federation.folder, [*federation.finished, progress])
    federation.listener.round(row)


def validate_everywhere(
    federation: Federation, progress: TrainingProgress, weights: Weights
) -> list[EvaluationReply]:
    """All sites' validation of weights of the last round, or under secure aggregation its sum."""
    if not federation.job.config.secure_aggregation:
        return evaluate_sites(federation, progress, weights, progress.round, VAL)
    evaluated, failures = secure_validation(federation, weights, progress.round)
    progress.failures += failures
    return evaluated


def write_checkpoint(federation: Federation, progress: TrainingProgress) -> None:
    """Write a checkpoint."""
    sync_sites(federation)
    save_progress(federation.folder / "checkpoint" / federation.job.strategy, progress)


@dataclass
class Clock:
    """Seconds from one reading to the next."""

    read: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Since the last reading."""
        before, self.read = self.read, time.monotonic()
        return self.read - before


def rounds_left(config: RunConfig, progress: TrainingProgress) -> bool:
    """Whether the training goes on."""
    return progress.validated_rounds < config.rounds and not out_of_patience(config, progress)


def out_of_patience(config: RunConfig, progress: TrainingProgress) -> bool:
    """Whether validation has not been better for `--patience` rounds."""
    return 0 < config.patience <= progress.validated_rounds - progress.best_round


def may_be_last_round(config: RunConfig, progress: TrainingProgress) -> bool:
    """Whether the training may end with its last merged round, which is not validated yet.

    The sites are then asked to validate it without training a next round.
    """
    waited = progress.round - progress.best_round
    return progress.round == config.rounds or 0 < config.patience <= waited


def next_round(
    federation: Federation, strategy: Strategy, progress: TrainingProgress, clock: Clock
) -> None:
    """One more round. Its requests also validate the round before, if that is still to be done."""
    secure = federation.job.config.secure_aggregation
    updates = (train_securely if secure else train_sites)(federation, strategy, progress)
    finishes = bool(progress.unvalidated)
    if finishes:
        finish_round(federation, progress, collect_validation(federation, progress, updates))
    try:
        merge(federation, strategy, progress, updates)
    except FederationError:
        if finishes:  # otherwise a resumed run would validate that round again
            write_checkpoint(federation, progress)
        raise
    remember_round(federation.job.config, progress)
    name = federation.job.config.strategy
    progress.memory, progress.memory_saved = strategy_memory(name, strategy), memory_is_saved(name)
    progress.unvalidated["seconds"] = clock.seconds()
    if is_private(federation.job.config) and progress.round < federation.job.config.rounds:
        finish_round(federation, progress, [])


def finish_round(
    federation: Federation, progress: TrainingProgress, evaluated: Sequence[EvaluationReply]
) -> None:
    """The last merged round is validated: write its lines, and see if it is the best so far."""
    training, progress.unvalidated = progress.unvalidated, {}
    training["seconds"] = round(training["seconds"], 3)
    config, task, strategy = federation.job.config, federation.task, federation.job.strategy
    if is_private(config):
        noise = count_noise(validation_noise(config), len(task.classes))
        validation = validate_private_round(task, strategy, progress, evaluated, noise)
    else:
        validation = validate_round(task, strategy, progress, evaluated)
    failures = sum(f["round"] == progress.round for f in progress.failures)
    row = RoundRow(**validation, **training, failures=failures)
    progress.round_rows.append(row)
    write_history(federation.folder, [*federation.finished, progress])
    federation.listener.round(row)


def train_sites(
    federation: Federation,
    strategy: Strategy,
    progress: TrainingProgress,
    each_update: bool = False,
) -> RoundUpdates:
    """Let the next round's sites train, and all sites validate the last round if needed.

    `each_update`: every site's own update is wanted, even where a sum would do.
    """
    updates = _prepare_round(federation, strategy, progress)
    check = UpdateCheck(
        shared=updates.shared,
        extra=progress.extra,
        task=federation.job.config.task,
        weighting=federation.job.config.weighting,
    )
    add = None if each_update else adding_of(federation, progress, updates, check)
    kept = KeptUpdates(
        updates.trained,
        updates.sums,
        len(updates.requests),
        updates.shared,
        federation.folder,
        add,
    )
    requests = _training_requests(federation, progress, updates, check, kept)
    if progress.unvalidated:
        others = federation.sites.keys() - requests.keys()
        requests |= evaluation_requests(
            federation, progress.weights, progress.round, VAL, others, updates.validated
        )
    updates.failures.extend(send_requests(federation, requests, summing_of(updates, add)))
    kept.add_no_more()
    multiple = federation.job.config.clip_updates
    while again := take_back_long_updates(updates, progress.extra, multiple):
        asked = {site: requests[site] for site in again}
        updates.failures.extend(send_requests(federation, asked))
    return updates


def train_securely(
    federation: Federation, strategy: Strategy, progress: TrainingProgress
) -> RoundUpdates:
    """The same under secure aggregation: of the sites' answers the server learns the sum."""
    updates = _prepare_round(federation, strategy, progress)
    done = SecureRound(
        federation=federation,
        number=updates.number,
        weights=progress.weights,
        extra=progress.extra,
        training=updates.requests,
        validates=bool(progress.unvalidated),
        validated_round=progress.round,
    ).run()
    updates.failures.extend(done.failures)
    if done.validated is not None:
        updates.validated[ALL_SITES] = done.validated
    trainees = tuple(site for site in done.sites if site in updates.requests)
    return replace(updates, summed=done.trained, summed_sites=trainees)


def _prepare_round(
    federation: Federation, strategy: Strategy, progress: TrainingProgress
) -> RoundUpdates:
    """The next round before anything is sent: its sites, and their requests by the strategy."""
    job, config, number = federation.job, federation.job.config, progress.round + 1
    sites = sample_sites(federation, number, progress.n_seen)
    unmerged = unmerged_entries(config)
    shared = {k: v for k, v in progress.weights.items() if k not in unmerged}
    # The strategy knows what it merges, and no more: some compare what they sent with the answers.
    arrays = to_array_record(with_extra(shared, progress.extra))
    settings = training_settings(job, validate_first=bool(progress.unvalidated))
    forget_merged_arrays(config.strategy, strategy)
    nodes = [federation.nodes[site] for site in sites]
    by_node = configure_round(strategy, number, arrays, settings, nodes)
    if unmerged:
        everything = to_array_record(with_extra(progress.weights, progress.extra))
        for request in by_node.values():
            request.content[ARRAYS] = everything
    return RoundUpdates(
        number=number,
        requests={site: by_node[federation.nodes[site]] for site in sites},
        shared=shared,
    )


def _training_requests(
    federation: Federation,
    progress: TrainingProgress,
    updates: RoundUpdates,
    check: UpdateCheck,
    kept: KeptUpdates,
) -> dict[str, SiteRequest]:
    """The round's requests to train; their answers go into `updates` once they are checked."""
    info = federation.sites

    def read(site: str, reply: Message) -> None:
        if progress.unvalidated:
            # If this is refused, the site is asked again for it alone, and then with the reason.
            with suppress(Exception):
                updates.validated[site] = validate_evaluation(
                    read_incoming_validation(reply), info[site], federation.task, VAL
                )
        trained = read_training_reply(reply)
        check(trained, info[site])
        kept.take(trained)

    return {
        site: SiteRequest(request=request, round_number=updates.number, doing=TRAINING, read=read)
        for site, request in updates.requests.items()
    }


def collect_validation(
    federation: Federation, progress: TrainingProgress, updates: RoundUpdates
) -> list[EvaluationReply]:
    """Every site's validation of the weights it was sent, in order of site name.

    A site whose validation did not come with its training is asked once more, for that alone.
    """
    progress.failures += [f for f in updates.failures if f["round"] == progress.round]
    secure = federation.job.config.secure_aggregation  # whoever is missing has left the round
    missing = set() if secure else updates.requests.keys() - updates.validated.keys()
    again: list[EvaluationReply] = []
    if missing:
        again = evaluate_sites(
            federation, progress, progress.weights, progress.round, VAL, sites=missing
        )
    return sorted([*updates.validated.values(), *again], key=lambda reply: reply.site)
