"""Merge what the sites trained in one round."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flwr.app import Message
from flwr.serverapp.strategy import Strategy

from fl.messages.flower_arrays import split_control, unpack
from fl.messages.flower_codec import (
    trained_reply,
)
from fl.messages.payloads import Evaluated, Trained
from fl.training.state_dict import Weights
from fl.util.errors import FederationError
from server.aggregation.evidence import by_evidence, weighed
from server.aggregation.scaffold import merged_control
from server.aggregation.strategies import STRATEGIES
from server.aggregation.update_store import Shelf
from server.rounds.checkpoints import Progress, Row
from server.rounds.model_selection import mean_loss
from server.rounds.site_requests import Federation


@dataclass(frozen=True, kw_only=True)
class Update:
    """What the visits of a round brought, by site; none of it is merged."""

    number: int  # of the round
    requests: Mapping[str, Message]  # of the sites that were to train
    shared: Weights  # entries that are merged, as they were sent
    trained: dict[str, Trained] = field(default_factory=dict)
    evaluated: dict[str, Evaluated] = field(default_factory=dict)  # of what was sent
    failures: list[Row] = field(default_factory=list)  # of this round and of the one measured


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
    merged = [trained_reply(t, update.requests[t.site]) for t in said]
    result, _ = strategy.aggregate_train(number, merged)
    if result is None:
        raise FederationError(f"Round {number}: {type(strategy).__name__} gave no weights.")
    # Flower returns every entry as a float of its own making: names, shapes and types are ours.
    found, control = split_control(unpack(result))
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


def shelved(trained: Trained, shelf: Shelf) -> Trained:
    """The same update, out of memory."""
    weights, control = shelf.put(trained.weights), shelf.put(trained.control)
    return replace(trained, weights=weights, control=control)
