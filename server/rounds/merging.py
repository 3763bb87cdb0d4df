"""Merge what the sites trained in one round."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flwr.app import Message
from flwr.serverapp.strategy import Strategy

from fl.ecg.tasks import TASKS
from fl.messages.flower_arrays import from_array_record, split_control
from fl.messages.flower_codec import (
    training_reply,
)
from fl.messages.payloads import EvaluationReply, TrainingReply
from fl.models import parts_of
from fl.training.state_dict import Weights
from fl.util.errors import FederationError
from server.aggregation.evidence import average_by_evidence, weight_sites
from server.aggregation.scaffold import merge_control
from server.aggregation.strategies import STRATEGIES
from server.aggregation.update_store import UpdateStore
from server.rounds.checkpoints import Row, TrainingProgress
from server.rounds.model_selection import mean_loss
from server.rounds.site_requests import Federation


@dataclass(frozen=True, kw_only=True)
class RoundUpdates:
    """What the visits of a round brought, by site; none of it is merged."""

    number: int  # of the round
    requests: Mapping[str, Message]  # of the sites that were to train
    shared: Weights  # entries that are merged, as they were sent
    trained: dict[str, TrainingReply] = field(default_factory=dict)
    evaluated: dict[str, EvaluationReply] = field(default_factory=dict)  # of what was sent
    failures: list[Row] = field(default_factory=list)  # of this round and of the one measured


def merge(
    federation: Federation, strategy: Strategy, progress: TrainingProgress, update: RoundUpdates
) -> None:
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
    weighted = weight_sites(trained, config.weighting)
    if STRATEGIES[config.strategy].averages and config.averaging == "evidence":
        parts = parts_of(config.model, TASKS[config.task])
        weighted = average_by_evidence(weighted, progress.weights, parts)
    # Written anew: Flower's strategies stop at a reply that holds more than the others do.
    merged = [training_reply(t, update.requests[t.site]) for t in weighted]
    result, _ = strategy.aggregate_train(number, merged)
    if result is None:
        raise FederationError(f"Round {number}: {type(strategy).__name__} gave no weights.")
    # Flower returns every entry as a float of its own making: names, shapes and types are ours.
    found, control = split_control(from_array_record(result))
    progress.weights |= {k: found[k].astype(v.dtype) for k, v in update.shared.items()}
    share = len(trained) / len(federation.sites)
    progress.control = merge_control(progress.control, control, share)
    progress.steps += sum(t.steps for t in trained)
    progress.seen |= {t.site: t.n_seen for t in trained}
    progress.failures += failures
    progress.round = number
    progress.unvalidated = {
        "participants": len(trained),
        "train_loss": mean_loss([(t.loss_sum, t.n_seen) for t in trained]),
    }


def store_update(trained: TrainingReply, shelf: UpdateStore) -> TrainingReply:
    """The same update, out of memory."""
    weights, control = shelf.put(trained.weights), shelf.put(trained.control)
    return replace(trained, weights=weights, control=control)
