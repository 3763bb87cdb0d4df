"""How much privacy the steps of a run spend, and how much noise keeps a budget.

By privacy loss distributions (Meiser & Mohammadi 2018, doi:10.1145/3243734.3243765; Doroshenko et
al. 2022, doi:10.56553/popets-2022-0121), of the package `dp-accounting`. Two data sets are
neighbours if one has a patient more.
"""

import math
from functools import lru_cache
from types import ModuleType

from fl.util.errors import ConfigError

ACCOUNTANT = "privacy loss distribution (dp-accounting)"
TOLERANCE = 1e-3  # of a noise multiplier
# Losses are rounded up to multiples of this: ten times the package's default, for a tenth of the
# time; at an epsilon of 8 the result is larger by less than 0.0001.
LOSS_INTERVAL = 1e-3
MOST_NOISE = 1e6


def _dp_accounting() -> ModuleType:
    """The package; `ConfigError` if it is not installed. It loads scipy: only who asks pays."""
    try:
        import dp_accounting
        import dp_accounting.pld
    except ImportError:
        raise ConfigError(
            "--dp needs the package dp-accounting: pip install 'heartfed[privacy]'"
        ) from None
    module: ModuleType = dp_accounting
    return module


@lru_cache(maxsize=64)
def epsilon_of(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """The epsilon that so many steps of DP-SGD spend, at this delta; infinite without noise.

    Each step draws every patient with the chance `sample_rate`, adds up vectors that one patient
    changes by a length of at most 1, and adds normal noise of standard deviation
    `noise_multiplier`.
    """
    if steps == 0:
        return 0.0
    if noise_multiplier == 0:
        return float("inf")
    dp = _dp_accounting()
    accountant = dp.pld.PLDAccountant(
        dp.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=LOSS_INTERVAL
    )
    accountant.compose(_event(dp, noise_multiplier, sample_rate), steps)
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=64)
def noise_for(epsilon: float, sample_rate: float, steps: int, delta: float) -> float:
    """The smallest noise multiplier with which so many steps keep (epsilon, delta).

    It is rounded up by at most a thousandth. `ConfigError` if no noise is enough.
    """

    def spent(noise: float) -> float:
        return epsilon_of(noise, sample_rate, steps, delta)

    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
        if high > MOST_NOISE:
            raise ConfigError(
                f"--epsilon is {epsilon:g} with --delta {delta:g}: no noise keeps it over {steps} "
                "steps. Give a larger one."
            )
    while low == 0 and spent(high / 2) <= epsilon:
        high /= 2
    low = low or high / 2
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > epsilon else (low, middle)
    return high


def gaussian_noise_for(epsilon: float, delta: float) -> float:
    """The noise multiplier of a single sum of everybody that keeps (epsilon, delta).

    The exact condition of Balle & Wang 2018 (arXiv:1805.06530), solved by bisection.
    """
    low, high = 0.0, 1.0
    while gaussian_delta(high, epsilon) > delta:
        low, high = high, 2 * high
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(middle, epsilon) > delta else (low, middle)
    return high


def gaussian_delta(noise_multiplier: float, epsilon: float) -> float:
    """The delta at which one sum with normal noise keeps this epsilon."""
    half, shift = 1 / (2 * noise_multiplier), epsilon * noise_multiplier
    return _normal_share(half - shift) - math.exp(epsilon) * _normal_share(-half - shift)


def _normal_share(below: float) -> float:
    """The share of a standard normal distribution below a number."""
    return math.erfc(-below / math.sqrt(2)) / 2


def _event(dp: ModuleType, noise_multiplier: float, sample_rate: float) -> object:
    gaussian = dp.GaussianDpEvent(noise_multiplier)
    return gaussian if sample_rate == 1 else dp.PoissonSampledDpEvent(sample_rate, gaussian)
