"""`run_sim.py --dp patient --secure-aggregation` without its protocol: the same figures, sooner.

    python -m benchmarks.studies.unmasked_run FLAGS OF run_sim.py

Masks cancel in the sum to the bit (tests/fl/privacy/secure_aggregation/test_secure_sum.py), so that
figures do not depend on them. With 100 sites keys, letters and masks take many times as long as
training, and a study of many runs takes hours. Here sites send their vectors as they are, in one
process (`--engine local`); each adds its share of the noise as it would. It protects nobody, and is
for studies alone.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
from flwr.serverapp.strategy import Strategy

import run_sim
from clients.local_evaluation import evaluate_site
from clients.simulated_sites import Site
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply
from fl.messages.round_vector import RoundVector, round_vector
from fl.messages.update_weight import most_weight, weighted_update
from fl.privacy.secure_aggregation.neighbours import fewest_survivors
from fl.training.state_dict import Weights
from partitions.splits import VAL
from server.rounds.checkpoints import TrainingProgress
from server.rounds.merging import RoundUpdates
from server.rounds.round_loop import train_sites
from server.rounds.site_evaluation import evaluation_requests
from server.rounds.site_requests import Federation, send_requests


def sites_sharing_noise(site: Site, job: Job, asked: object) -> int:
    """As many sites as must stay in a round with all of them."""
    return fewest_survivors(job.expected_sites)


def evaluate_with_share(site: Site, job: Job, weights: Weights, split: str, *rest: Any) -> Any:
    """A site's evaluation; of validation with its share of the noise."""
    rule, number, *_ = rest
    sharing = sites_sharing_noise(site, job, None) if split == VAL else 1
    return evaluate_site(site, job, weights, split, rule, number, sharing)


def train_unmasked(
    federation: Federation, strategy: Strategy, progress: TrainingProgress
) -> RoundUpdates:
    """A round whose updates are added up as a secure sum adds them."""
    updates = train_sites(federation, strategy, progress, each_update=True)
    config, asked = federation.job.config, [federation.sites[site] for site in updates.requests]
    most = most_weight(asked, config.weighting)
    layout = round_vector(config, progress.weights, progress.extra, most, sources=None)
    trained = [weighted_update(one, config.weighting) for one in updates.trained.values()]
    total = np.sum([layout.encode(one, None) for one in trained], axis=0)
    summed, _ = layout.decode(total)
    return replace(updates, trained={}, summed=summed, summed_sites=tuple(sorted(updates.trained)))


def validate_unmasked(
    federation: Federation, weights: Weights, number: int
) -> tuple[list[EvaluationReply], list[dict[str, Any]]]:
    """The sum of all sites' validation, as one reply; and who did not answer."""
    found: dict[str, EvaluationReply] = {}
    requests = evaluation_requests(federation, weights, number, VAL, federation.sites, found)
    failures = send_requests(federation, requests)
    sources = sorted({source for reply in found.values() for source in reply.by_source})
    layout = RoundVector(task=federation.task, sums=None, sources=sources)
    total = sum(
        (layout.encode(None, one) for one in found.values()), np.zeros(layout.size, np.int64)
    )
    _, validated = layout.decode(total)
    return [validated] if validated else [], failures


@contextmanager
def without_masks() -> Iterator[None]:
    """Sites and server of this process send and take vectors as they are."""
    with (
        mock.patch("clients.app._require_secure", return_value=None),
        mock.patch("clients.app.sites_sharing_noise", sites_sharing_noise),
        mock.patch("clients.app.evaluate_site", evaluate_with_share),
        mock.patch("server.rounds.round_loop.train_securely", train_unmasked),
        mock.patch("server.rounds.round_loop.secure_validation", validate_unmasked),
    ):
        yield


def main(given: Sequence[str] | None = None) -> int:
    """Run the simulation; its exit code."""
    flags = [*(sys.argv[1:] if given is None else given), "--engine", "local"]
    with without_masks():
        return run_sim.main(flags)


if __name__ == "__main__":
    sys.exit(main())
