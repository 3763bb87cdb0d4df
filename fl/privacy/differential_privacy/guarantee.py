"""What a run with differential privacy promises each patient, and how it keeps it."""

from dataclasses import dataclass
from typing import Any

from fl.config.private_settings import NONE, PATIENT
from fl.config.run_config import RunConfig
from fl.privacy.differential_privacy.accountant import (
    ACCOUNTANT,
    epsilon_of,
    gaussian_noise_for,
    noise_for,
)
from fl.privacy.differential_privacy.private_training import steps_of_round

USUAL_DELTA = 1e-5  # of `--delta auto`
SLACK = 1e-6  # of an epsilon, for its rounding in a file


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """The privacy of each training and each validation patient of a run, as run.json states it."""

    unit: str
    epsilon: float
    delta: float
    sampling: str
    sample_rate: float
    steps: int  # of each site in the whole run
    clip: float
    noise_multiplier: float
    validation_noise_multiplier: float
    scope: str
    accountant: str
    against: str  # whom the promise holds against
    trainings: int  # of the run, each of which spends as much

    def to_json(self) -> dict[str, Any]:
        """For run.json."""
        return dict(vars(self))


def is_private(config: RunConfig) -> bool:
    """Whether sites train with differential privacy."""
    return config.dp != NONE


def steps_of_run(config: RunConfig, rounds: int | None = None) -> int:
    """Steps that a site takes at most, in all rounds or in so many."""
    secure = config.secure_aggregation
    each = steps_of_round(config.local_epochs, config.sample_rate, secure)
    return each * (config.rounds if rounds is None else rounds)


def with_noise(config: RunConfig) -> RunConfig:
    """The settings with delta and noise as numbers: the least noise that keeps epsilon.

    Where the noise is given, epsilon becomes what it spends. `ConfigError` without the accountant.
    """
    if not is_private(config):
        return config
    delta = USUAL_DELTA if config.delta == "auto" else config.delta
    steps, rate = steps_of_run(config), config.sample_rate
    found: dict[str, float] = {"delta": delta}
    if config.noise_multiplier:
        found["epsilon"] = epsilon_of(config.noise_multiplier, rate, steps, delta)
    else:
        found["noise_multiplier"] = noise_for(config.epsilon, rate, steps, delta)
    return config.model_copy(update=found)


def spent_epsilon(config: RunConfig, rounds: int | None = None) -> float:
    """The epsilon that the training of these settings spends, in all rounds or in so many.

    `config` is one of `with_noise`; a site computes this itself and believes no coordinator.
    """
    steps = steps_of_run(config, rounds)
    return epsilon_of(config.noise_multiplier, config.sample_rate, steps, _delta(config))


def validation_noise(config: RunConfig) -> float:
    """Noise over the length by which one validation patient changes the histograms of a run."""
    return gaussian_noise_for(config.epsilon, _delta(config))


def guarantee_of(config: RunConfig) -> Guarantee | None:
    """What the run promises; None without differential privacy. `config` is of `with_noise`."""
    if not is_private(config):
        return None
    secure = config.secure_aggregation
    return Guarantee(
        unit=PATIENT,
        epsilon=config.epsilon,
        delta=_delta(config),
        sampling="Poisson, patients; neighbours differ in one patient",
        sample_rate=config.sample_rate,
        steps=steps_of_run(config),
        clip=config.clip,
        noise_multiplier=config.noise_multiplier,
        validation_noise_multiplier=validation_noise(config),
        scope=config.dp_scope,
        accountant=ACCOUNTANT,
        against="whoever sees the sums, while no site gives its share of the noise away"
        if secure
        else "whoever sees what a site sends, the coordinator included",
        trainings=len(config.strategies),
    )


def _delta(config: RunConfig) -> float:
    return USUAL_DELTA if config.delta == "auto" else config.delta
