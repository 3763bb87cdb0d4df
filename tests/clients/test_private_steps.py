"""Neither the noise of a hospital nor its draw of patients follows from the seed of a run."""

import numpy as np
import pytest

from clients import private_steps
from clients.private_steps import train_privately
from clients.simulated_sites import open_site
from fl.messages.job import Job
from fl.privacy.differential_privacy.guarantee import with_noise


@pytest.fixture
def drawn(make_job, monkeypatch):
    """What a site's plan of private steps draws first: noise, and random numbers for patients."""
    found = []

    def note(network, cohort, plan, private, pull):
        found.append((private.normal(3).tolist(), private.rng.random(3).tolist()))

    monkeypatch.setattr(private_steps, "private_fit", note)
    job = make_job(2, dp="patient", rounds=1)
    job = job.model_copy(update={"config": with_noise(job.config)})

    def train(changed: Job = job):
        train_privately(None, open_site(job, 0), changed, 1, 0.0, 1)
        return found[-1]

    return job, train


def test_a_simulation_draws_the_same_again(drawn):
    _, train = drawn
    assert train() == train()


def test_a_hospital_draws_what_nobody_can_compute(drawn):
    job, train = drawn
    deployed = job.model_copy(update={"run": "r-1"})
    (noise, patients), (other_noise, other_patients) = train(deployed), train(deployed)
    assert not np.allclose(noise, other_noise)
    assert not np.allclose(patients, other_patients)
