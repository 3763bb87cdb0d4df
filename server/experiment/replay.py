"""One round of a run again: what each site sent in it, and what the server made of that.

A run keeps the weights of its last rounds and no site's update. Same settings, data and seed give
the same bits, so the rounds up to the one in question are repeated in a folder of their own.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fl.messages.job import Job
from fl.training.state_dict import INITIAL, Weights
from server.aggregation.strategies import STRATEGIES
from server.app import SilentListener, initial_extra
from server.engines.simulation import simulate
from server.experiment.prepare import PARTITION
from server.rounds.checkpoints import TrainingProgress
from server.rounds.initial_weights import initial_weights
from server.rounds.merging import merge
from server.rounds.round_loop import train_sites
from server.rounds.site_requests import discover_sites


@dataclass(frozen=True, kw_only=True)
class ReplayedRound:
    """One round of a run, as the coordinator saw it."""

    number: int
    before: Weights  # the global weights
    updates: Mapping[str, Weights]  # site -> the weights that came back, before any clipping
    after: Weights  # the global weights


def replay_round(
    job: Job,
    client_app: ClientApp,
    number: int,
    done: Callable[[int], None] = lambda number: None,
) -> ReplayedRound:
    """Repeat the first rounds of a simulated run up to `number`, in this process.

    A run under secure aggregation is repeated without it: `updates` are what it hides.
    An entry that sites do not send is in `updates` as it was sent to them. `done` is called after
    each round. Raises FederationError if too few sites give a usable update.
    """
    found: list[ReplayedRound] = []
    with tempfile.TemporaryDirectory(prefix="heartfed-replay-") as workspace:
        for name in (PARTITION, INITIAL):
            kept, copy = Path(job.workspace) / name, Path(workspace) / name
            if kept.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept, copy)
        config = job.config.model_copy(update={"engine": "local", "ray_address": ""})
        if config.secure_aggregation:  # the sum has the same bits without the masks
            config = config.model_copy(update={"secure_aggregation": False, "clip_updates": 0.0})
        again = job.model_copy(update={"workspace": workspace, "config": config})
        app = ServerApp()

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            found.append(_rounds(grid, again, number, done))

        simulate(app, client_app, again, again.expected_sites)
    return found[0]


def _rounds(grid: Grid, job: Job, number: int, done: Callable[[int], None]) -> ReplayedRound:
    federation = discover_sites(grid, job, SilentListener())
    start = initial_weights(job)
    progress = TrainingProgress(weights=start, best_weights=start, extra=initial_extra(job))
    strategy = STRATEGIES[job.config.strategy].make(job.config)
    before, seen = start, {}
    for last in range(1, number + 1):
        before = dict(progress.weights)
        updates = train_sites(federation, strategy, progress, each_update=last == number)
        if last == number:
            seen = {
                site: before | {name: reply.weights[name] for name in reply.weights}
                for site, reply in updates.trained.items()
            }
        merge(federation, strategy, progress, updates)
        progress.unvalidated = {}  # validation changes no weights: it is left out
        done(last)
    return ReplayedRound(number=number, before=before, updates=seen, after=progress.weights)
