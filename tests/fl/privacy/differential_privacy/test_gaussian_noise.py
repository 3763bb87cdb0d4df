"""Noise has the stated distribution; a hospital's is another each time."""

import numpy as np
from scipy import stats

from fl.privacy.differential_privacy.gaussian_noise import secret_noise, seeded_noise


def test_secret_noise_is_standard_normal():
    drawn = secret_noise()(100_000)
    assert stats.kstest(drawn, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02


def test_secret_noise_never_comes_again():
    assert not np.array_equal(secret_noise()(8), secret_noise()(8))
    draw = secret_noise()
    assert not np.array_equal(draw(8), draw(8))


def test_a_simulation_s_noise_follows_from_its_seed_and_its_use():
    assert np.array_equal(seeded_noise(3, "site-1", 2)(8), seeded_noise(3, "site-1", 2)(8))
    assert not np.array_equal(seeded_noise(3, "site-1", 2)(8), seeded_noise(3, "site-1", 3)(8))
