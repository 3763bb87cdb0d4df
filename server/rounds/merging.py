"""Merge what the sites trained in one round."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.serverapp.strategy import Strategy

from fl.config.run_config import RunConfig
from fl.config.strategy_traits import strategy_traits
from fl.ecg.tasks import TASKS
from fl.messages.flower_arrays import from_array_record, split_extra
from fl.messages.flower_codec import training_reply
from fl.messages.payloads import EvaluationReply, TrainingReply
from fl.messages.update_weight import most_weight, weighted_update
from fl.models import NetworkParts, parts_of
from fl.privacy.differential_privacy.guarantee import is_private
from fl.training.state_dict import Weights
from fl.util.errors import FederationError
from server.aggregation.clipping import FEWEST_SITES, Clipped, clip_updates, update_norms
from server.aggregation.evidence_average import average_updates
from server.aggregation.strategies import STRATEGIES
from server.aggregation.update_sums import SumUpdates, UpdateSum, sites_to_ask_again
from server.rounds.checkpoints import TrainingProgress
from server.rounds.evaluation_validation import validate_evaluation
from server.rounds.model_selection import mean_loss
from server.rounds.reply_validation import UpdateCheck
from server.rounds.site_requests import Federation, Summing

CLIPPED = "clipped"  # what a listener hears of a site whose update counts for less


@dataclass(frozen=True, kw_only=True)
class RoundUpdates:
    """What the sites answered in a round, by site; none of it is merged."""

    number: int  # of the round
    requests: Mapping[str, Message]  # of the sites that were asked to train
    shared: Weights  # entries that are merged, as they were sent
    trained: dict[str, TrainingReply] = field(default_factory=dict)
    # Under secure aggregation the sum over these sites stands for all, and none of theirs is known.
    summed: TrainingReply | None = None
    summed_sites: tuple[str, ...] = ()
    sums: list[UpdateSum] = field(default_factory=list)  # of updates that are in `trained` no more
    validated: dict[str, EvaluationReply] = field(default_factory=dict)  # the weights as sent
    failures: list[dict[str, Any]] = field(default_factory=list)  # of both

    @property
    def participants(self) -> int:
        """How many sites' updates there are."""
        summed = sum(len(one.updates) for one in self.sums)
        return len(self.summed_sites) if self.summed else len(self.trained) + summed


def merge(
    federation: Federation, strategy: Strategy, progress: TrainingProgress, updates: RoundUpdates
) -> None:
    """Merge what the sites trained into `progress`; `FederationError` below the quorum."""
    number = updates.number
    failures = [f for f in updates.failures if f["round"] == number]
    require_quorum(updates, failures, federation.job.config.quorum)
    if updates.summed is not None:
        trained = counted = [updates.summed]
    else:
        single = [updates.trained[site] for site in sorted(updates.trained)]
        summed = [update for one in updates.sums for update in one.updates]
        trained = sorted([*single, *summed], key=lambda update: update.site)
        if number == 1:
            _say_what_does_not_protect(federation.job.config, len(trained))
        clipped = _clipped(federation, progress, updates, single)
        failures += [{"round": number, "site": s, "reason": r} for s, r in clipped.notes.items()]
        counted = _as_they_count(federation, progress, updates, clipped.updates)
        progress.n_seen |= {reply.site: reply.n_seen for reply in trained}
    # Written again: Flower's strategies stop at a reply that holds more than the others do.
    # What stands for all sites answers any one of the requests.
    anyone = min(updates.requests)
    replies = [training_reply(reply, updates.requests[reply.site or anyone]) for reply in counted]
    result, _ = strategy.aggregate_train(number, replies)
    if result is None:
        raise FederationError(f"Round {number}: {type(strategy).__name__} gave no weights.")
    # Flower returns every entry as a float of its own making: names, shapes and types are ours.
    merged, extra = split_extra(from_array_record(result))
    found = {k: merged[k].astype(v.dtype) for k, v in updates.shared.items()}
    _require_finite(found, extra, number, strategy)
    progress.weights |= found
    rule = STRATEGIES[federation.job.config.strategy].extra
    if rule is not None:
        share = updates.participants / len(federation.sites)
        progress.extra = rule.merge(progress.extra, extra, share)
    progress.steps += sum(reply.steps for reply in trained)
    progress.failures += failures
    progress.round = number
    progress.unvalidated = {
        "participants": updates.participants,
        # Under differential privacy sites send no loss.
        "train_loss": None
        if is_private(federation.job.config)
        else mean_loss([(reply.loss_sum, reply.n_seen) for reply in trained]),
    }


def _clipped(
    federation: Federation,
    progress: TrainingProgress,
    updates: RoundUpdates,
    trained: list[TrainingReply],
) -> Clipped:
    """The updates, none of them many times as long as the others; who is shortened is named."""
    multiple = federation.job.config.clip_updates
    summed = [norms for one in updates.sums for norms in one.norms]
    clipped = clip_updates(trained, updates.shared, progress.extra, multiple, summed)
    for site, reason in sorted(clipped.notes.items()):
        federation.listener.site(updates.number, site, CLIPPED, reason)
    return Clipped(clipped.updates, dict(sorted(clipped.notes.items())))


def _say_what_does_not_protect(config: RunConfig, sites: int) -> None:
    """One line where so few sites answered that one of them can decide against the settings."""
    log, rule = logging.getLogger("heartfed"), STRATEGIES[config.strategy]
    if sites < rule.protects:
        log.warning(
            "%s of %d sites leaves nobody out: it needs %d to keep one site from deciding",
            config.strategy,
            sites,
            rule.protects,
        )
    if config.clip_updates and sites < FEWEST_SITES:
        log.info(
            "--clip-updates does nothing with %d sites: it needs %d to tell which is the odd one",
            sites,
            FEWEST_SITES,
        )


def _require_finite(weights: Weights, extra: Weights, number: int, strategy: Strategy) -> None:
    """`FederationError` unless every number of a merged model is one."""
    for name, value in (weights | extra).items():
        if not np.isfinite(value).all():
            raise FederationError(
                f"Round {number}: {type(strategy).__name__} made NaN or infinite values of the "
                f"sites' updates ({name}). Continue from the round before with --resume."
            )


def require_quorum(updates: RoundUpdates, failures: list[dict[str, Any]], quorum: float) -> None:
    """`FederationError` unless enough of the round's sites sent a usable update.

    The share is rounded up: of three sites and a quorum of a half, two must answer.
    """
    asked, needed = len(updates.requests), math.ceil(quorum * len(updates.requests))
    if updates.participants < needed:
        reasons = "; ".join(f"{f['site']}: {f['reason']}" for f in failures)
        raise FederationError(
            f"Round {updates.number}: {updates.participants} of {asked} sites gave a usable "
            f"update, the quorum is {needed} (--quorum {quorum:g}). {reasons}"
        )


def _as_they_count(
    federation: Federation,
    progress: TrainingProgress,
    updates: RoundUpdates,
    trained: list[TrainingReply],
) -> list[TrainingReply]:
    """The updates as the run's settings let them count; one for all where they are averaged.

    Flower's rule then takes the average as the update of one site, and its own average of one is
    that update.
    """
    config = federation.job.config
    weighted = [weighted_update(update, config.weighting) for update in trained]
    if strategy_traits(config.strategy).needs_each_update:
        return weighted
    by_evidence = config.averaging == "evidence"
    parts = parts_of(config.model, TASKS[config.task]) if by_evidence else NetworkParts()
    most = most_weight((federation.sites[site] for site in updates.requests), config.weighting)
    try:
        shared, extra = updates.shared, progress.extra
        return [average_updates(weighted, shared, extra, parts, most, updates.sums)]
    except ValueError as error:
        raise FederationError(f"Round {updates.number}: {error}") from None


def adding_of(
    federation: Federation, progress: TrainingProgress, updates: RoundUpdates, check: UpdateCheck
) -> SumUpdates | None:
    """How the round's updates are added up before they are merged; None if each must be kept.

    Some strategies must see each. Under differential privacy no site may be asked again, which a
    sum may need: a second answer costs as much privacy as the first.
    """
    config = federation.job.config
    if strategy_traits(config.strategy).needs_each_update or is_private(config):
        return None
    asked = {site: federation.sites[site] for site in updates.requests}
    return SumUpdates(
        config=config,
        shared=updates.shared,
        extra=progress.extra,
        most=most_weight(asked.values(), config.weighting),
        sites={federation.nodes[site]: info for site, info in asked.items()},
        validates=bool(progress.unvalidated),
        check=check,
        check_validation=validate_evaluation,
    )


def summing_of(updates: RoundUpdates, add: SumUpdates | None) -> Summing | None:
    """How workers add up the round's updates; None if each of them travels by itself."""
    if add is None:
        return None

    def read(found: UpdateSum) -> None:
        updates.sums.append(found)
        updates.validated.update({one.site: one for one in found.validated})

    return Summing(combine=add, read=read)


def take_back_long_updates(updates: RoundUpdates, extra: Weights, multiple: float) -> list[str]:
    """Drop the sums that hold an update which is to be clipped; the sites to ask again, by name."""
    single = [update_norms(one, updates.shared, extra) for one in updates.trained.values()]
    again = sites_to_ask_again(updates.sums, single, multiple) if updates.sums else []
    updates.sums[:] = [one for one in updates.sums if not any(one is other for other in again)]
    return sorted(site for one in again for site in one.sites)
