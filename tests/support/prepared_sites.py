"""Sites with prepared answers: rounds without a network, in milliseconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fl.config.run_config import RunConfig
from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.score_histograms import ScoreHistograms, count_scores
from fl.messages.flower_arrays import split_extra
from fl.messages.flower_codec import (
    evaluation_reply,
    read_round,
    read_split,
    read_validate_first,
    read_weights,
    site_info_reply,
    training_reply,
)
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply, SiteInfo, SourceValidation, TrainingReply
from partitions.splits import TEST, VAL
from server.aggregation.strategies import STRATEGIES
from server.engines.in_process import LocalGrid
from server.rounds.checkpoints import TrainingProgress, load_progress
from server.rounds.round_loop import run_rounds
from server.rounds.site_requests import discover_sites
from support.rounds import Watching

CLASSES = len(RHYTHM.classes)


def ranked(auroc: float, n: int = 10) -> ScoreHistograms:
    """Scores of `n` examples with and `n` without each class, which have this AUROC."""
    above = round(n * (1 - auroc))
    p = np.array([0.5] * n + [0.9] * above + [0.1] * (n - above))
    labels = np.repeat([1, 0], n).astype(np.int8)
    table = np.repeat(labels[:, None], CLASSES, axis=1), np.tile(p[:, None], CLASSES)
    return count_scores(*table, np.arange(2 * n).astype(str))


def update(site: str, weights: Mapping[str, Any], **changed: Any) -> TrainingReply:
    """What a site sends after training."""
    facts: dict[str, Any] = {
        "n_records": 10,
        "n_patients": 10,
        "annotated": (10,) * CLASSES,
        "recorded": (10,) * RHYTHM.leads,
        "loss_sum": 5.0,
        "n_seen": 10,
        "steps": 2,
    }
    return TrainingReply(site=site, weights=weights, **(facts | changed))


@dataclass
class PreparedSites:
    """A client whose site number k adds k to every weight that it is sent.

    `auroc`: of validation, by round, from the first; the last one also counts for later rounds.
    """

    n_train: Sequence[int] = (10, 10, 10)
    auroc: Sequence[float] = (0.5, 0.6, 0.7, 0.8)
    change: Callable[[TrainingReply, int], TrainingReply] = lambda trained, number: trained
    validate: Callable[[EvaluationReply, int], EvaluationReply] = lambda reply, number: reply
    requests: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(self, message, context):  # type: ignore[no-untyped-def]
        kind, place = message.metadata.message_type, int(context.node_config["partition-id"])
        site = f"site-{place + 1}"
        if kind == "query":
            n = self.n_train[place]
            info = SiteInfo(
                site=site, n_train=n, n_val=20 + place, n_test=30 - place, n_records=100 * n
            )
            return site_info_reply(info, message)
        number = read_round(message)
        if kind == "evaluate":
            split, _ = read_split(message)
            self.requests.append((split, number, site))
            return evaluation_reply(self.evaluated(site, number, split), message)
        first = read_validate_first(message)
        self.requests.append(("train and validate" if first else "train", number, site))
        weights, extra = split_extra(read_weights(message))
        n = self.n_train[place]
        trained = update(
            site,
            {k: v + np.asarray(place + 1, v.dtype) for k, v in weights.items()},
            extra={k: v + np.asarray(place + 1, v.dtype) for k, v in extra.items()},
            n_records=n,
            n_patients=n,
            annotated=(n,) * CLASSES,
            recorded=(n,) * RHYTHM.leads,
        )
        validation = self.evaluated(site, number - 1, VAL) if first else None
        return training_reply(self.change(trained, number), message, validation)

    def evaluated(self, site: str, number: int, split: str) -> EvaluationReply:
        auroc = self.auroc[min(number, len(self.auroc)) - 1]
        by_source = {"clinic": SourceValidation(n_patients=20, scores=ranked(auroc))}
        reply = EvaluationReply(
            site=site,
            n_records=20,
            n_patients=20,
            loss_sum=10.0 * number,
            by_source={} if split == TEST else by_source,
            report=None,
            steps=3 if split == TEST else 0,
        )
        return self.validate(reply, number)

    def of(self, number: int) -> list[tuple[str, str]]:
        """Kind and site of the requests of a round, in the order in which they were sent."""
        return [(kind, site) for kind, n, site in self.requests if n == number]


def prepared_job(folder, sites: int = 3, **settings: Any) -> Job:  # type: ignore[no-untyped-def]
    """A job whose weights are averaged as they are."""
    given = {"rounds": 2, "engine": "local", "averaging": "plain", "timeout": 5.0} | settings
    config = RunConfig(clients=sites, **given)
    return Job(config=config, strategy=config.strategy, workspace=str(folder))


def federation_of(job: Job, sites: Any, listener: Any = None):  # type: ignore[no-untyped-def]
    """The federation that these sites make up."""
    grid = LocalGrid(sites, job.config.clients)
    return discover_sites(grid, job, listener or Watching())


def start(**entries: Any) -> TrainingProgress:
    """A training before its first round; without entries it has one weight, `w`."""
    weights = entries or {"w": np.zeros(2, np.float32)}
    return TrainingProgress(weights=dict(weights), best_weights=dict(weights))


def train(job: Job, sites: Any, listener: Any = None, progress: Any = None) -> TrainingProgress:
    """All rounds that are left, from the last checkpoint if there is one."""
    federation = federation_of(job, sites, listener)
    saved = load_progress(federation.folder / "checkpoint" / job.strategy)
    strategy = STRATEGIES[job.config.strategy].make(job.config)
    return run_rounds(federation, strategy, saved or progress or start())
