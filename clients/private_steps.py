"""A site's half of differential privacy: its training steps and its validation, with noise."""

import math
from dataclasses import replace

from torch import nn

from clients.simulated_sites import Site
from clients.training_plan import training_plan
from fl.config.private_settings import FEATURES
from fl.ecg.tasks import TASKS
from fl.evaluation.decisions.score_histograms import empty_histograms
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply, TrainingReply
from fl.privacy.differential_privacy.gaussian_noise import (
    NormalNoise,
    secret_generator,
    secret_noise,
    seeded_noise,
)
from fl.privacy.differential_privacy.guarantee import validation_noise
from fl.privacy.differential_privacy.private_histograms import noised_histograms
from fl.privacy.differential_privacy.private_training import (
    PrivateSteps,
    private_fit,
    steps_of_round,
)
from fl.training.loop import FitResult
from fl.util.random_streams import stream
from partitions.splits import TRAIN


def train_privately(
    network: nn.Module, site: Site, job: Job, round_number: int, pull: float, sharing: int
) -> FitResult:
    """One round of private steps. `sharing` sites bring the noise together; 1: this one alone."""
    config = job.config
    private = PrivateSteps(
        steps=steps_of_round(config.local_epochs, config.sample_rate, config.secure_aggregation),
        sample_rate=config.sample_rate,
        clip=config.clip,
        noise=config.noise_multiplier / math.sqrt(sharing),
        normal=_noise(job, site, "training", round_number),
        rng=secret_generator()
        if job.deployed
        else stream(config.seed, "private fit", site.name, round_number),
        shared_forward=config.freeze == FEATURES,
    )
    plan = training_plan(config, site.name, round_number)
    return private_fit(network, site.splits[TRAIN], plan, private, pull)


def without_counts(trained: TrainingReply) -> TrainingReply:
    """The update without what it would tell of classes and leads: all patients count for each."""
    n = trained.n_patients
    return replace(
        trained,
        annotated=(n,) * len(trained.annotated),
        recorded=(n,) * len(trained.recorded),
    )


def noised_validation(
    reply: EvaluationReply, site: Site, job: Job, round_number: int, sharing: int
) -> EvaluationReply:
    """Validation as it may leave: noised histograms, no loss; numbers of patients stay.

    The server needs the sum over sources alone, and a sum that is noised once has less noise than
    one of noised histograms. It stands under the first source; the others' counts are zero.
    """
    scale = validation_noise(job.config) / math.sqrt(sharing)
    nothing = empty_histograms(len(TASKS[job.config.task].classes))
    whole = sum((found.scores for found in reply.by_source.values()), nothing)
    noised = noised_histograms(whole, scale, _noise(job, site, "validation", round_number))
    by_source = {
        source: replace(found, scores=nothing) for source, found in sorted(reply.by_source.items())
    }
    for source in sorted(by_source)[:1]:
        by_source[source] = replace(by_source[source], scores=noised)
    return replace(reply, loss_sum=0.0, by_source=by_source)


def _noise(job: Job, site: Site, use: str, round_number: int) -> NormalNoise:
    """A hospital's noise is secret; a simulation's is the same whenever it is repeated."""
    if job.deployed:
        return secret_noise()
    return seeded_noise(job.config.seed, job.strategy, use, site.name, round_number)
