"""The accountant against known cases: closed forms, published figures, and its own inverse."""

import logging
import math

import pytest
from scipy.stats import norm

from fl.config.run_config import checked
from fl.privacy.differential_privacy.accountant import (
    epsilon_of,
    gaussian_delta,
    gaussian_noise_for,
    noise_for,
)
from fl.privacy.differential_privacy.guarantee import (
    guarantee_of,
    spent_epsilon,
    steps_of_run,
    validation_noise,
    with_noise,
)

DELTA = 1e-5


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (2.0, 1), (3.0, 9), (5.0, 25)])
def test_sums_of_everybody_spend_what_one_sum_with_less_noise_spends(noise, steps):
    # The composition of Gaussian mechanisms is one of noise / sqrt(steps), whose delta has a
    # closed form (Balle & Wang 2018, theorem 8).
    found = epsilon_of(noise, 1.0, steps, DELTA)
    one = noise / math.sqrt(steps)
    delta = norm.cdf(1 / (2 * one) - found * one) - math.exp(found) * norm.cdf(
        -1 / (2 * one) - found * one
    )
    assert delta == pytest.approx(DELTA, rel=0.01)


def test_a_gaussian_computed_by_hand():
    # Phi(.5 - 1) - e * Phi(-.5 - 1) = .30854 - 2.71828 * .06681 = .12693
    assert gaussian_delta(1.0, 1.0) == pytest.approx(0.12693, abs=1e-5)
    assert gaussian_noise_for(1.0, 0.12693) == pytest.approx(1.0, rel=2e-3)


@pytest.mark.parametrize(
    ("noise", "rate", "steps"), [(1.0, 0.01, 1000), (1.1, 0.0043, 10_000), (2.0, 0.25, 80)]
)
def test_poisson_sampling_agrees_with_dp_accounting_s_other_accountant(noise, rate, steps):
    # Renyi accounting (Mironov 2017) is an upper bound; privacy loss distributions are tighter.
    import dp_accounting
    import dp_accounting.rdp

    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    logging.disable(logging.WARNING)  # some orders do not converge, and are left out
    try:
        accountant = dp_accounting.rdp.RdpAccountant()
        accountant.compose(event, steps)
        above = accountant.get_epsilon(DELTA)
    finally:
        logging.disable(logging.NOTSET)
    found = epsilon_of(noise, rate, steps, DELTA)
    assert 0.75 * above < found < above


def test_privacy_loss_distributions_of_the_package_at_its_own_precision():
    # dp-accounting 0.6.0, PLDAccountant, add or remove one, intervals of 1e-4.
    assert epsilon_of(1.57, 0.25, 80, DELTA) == pytest.approx(8.011168, abs=1e-3)
    assert epsilon_of(1.0, 0.25, 20, DELTA) == pytest.approx(8.077833, abs=1e-3)


def test_the_noise_for_an_epsilon_spends_it_and_hardly_less():
    found = noise_for(3.0, 0.25, 20, DELTA)
    assert 2.97 < epsilon_of(found, 0.25, 20, DELTA) <= 3.0


def test_no_step_spends_nothing_and_no_noise_everything():
    assert epsilon_of(0.0, 0.5, 0, DELTA) == 0
    assert epsilon_of(0.0, 0.5, 1, DELTA) == math.inf


def test_a_run_s_settings_get_their_noise_and_its_promise():
    config = with_noise(checked({"dp": "patient", "epsilon": 3.0, "rounds": 5}))
    assert config.delta == DELTA
    assert 2.97 < spent_epsilon(config) <= 3.0
    promised = guarantee_of(config)
    assert promised is not None
    assert promised.steps == steps_of_run(config) == 5 * 4
    assert gaussian_delta(validation_noise(config), 3.0) <= DELTA


def test_given_noise_decides_the_epsilon():
    config = with_noise(checked({"dp": "patient", "noise_multiplier": 2.0, "rounds": 5}))
    assert config.epsilon == spent_epsilon(config)


def test_a_run_without_it_stays_as_it_is():
    config = checked({})
    assert with_noise(config) is config
    assert guarantee_of(config) is None
