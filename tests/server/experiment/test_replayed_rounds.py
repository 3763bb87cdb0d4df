"""A round that is repeated is the run's own, to the bit."""

from pathlib import Path

import numpy as np
import pytest

from clients.app import app
from fl.messages.job import Job
from fl.training.state_dict import load_weights
from server.app import SilentListener, server_app
from server.engines.simulation import simulate
from server.experiment.replay import replay_round


def trained(job: Job) -> Path:
    simulate(server_app(SilentListener()), app, job, job.expected_sites)
    return Path(job.workspace)


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedbn"])
def test_the_last_round_is_the_runs_own(make_job, strategy):
    job = make_job(model="cnn_simple", strategy=strategy, name=f"run-{strategy}")
    folder = trained(job)
    again = replay_round(job, app, 2)
    last = load_weights(folder / "weights" / f"{strategy}-last.safetensors")
    assert again.after.keys() == last.keys()
    for name, value in last.items():
        np.testing.assert_array_equal(again.after[name], value)
    assert sorted(again.updates) == ["site-1", "site-2", "site-3"]
    for weights in again.updates.values():
        assert weights.keys() == again.before.keys()
        assert any((weights[name] != again.before[name]).any() for name in weights)


def test_under_secure_aggregation_the_sum_is_the_runs_own_and_the_updates_are_what_it_hid(make_job):
    job = make_job(model="cnn_simple", secure_aggregation=True, name="secure", rounds=1)
    last = load_weights(trained(job) / "weights" / "fedavg-last.safetensors")
    again = replay_round(job, app, 1)
    for name, value in last.items():
        np.testing.assert_array_equal(again.after[name], value)
    assert len(again.updates) == 3


def test_the_first_round_begins_with_the_first_weights_and_leaves_the_run_alone(make_job):
    job = make_job(model="cnn_simple", name="alone")
    before = sorted(path.name for path in Path(job.workspace).iterdir())
    rounds = []
    first = replay_round(job, app, 1, rounds.append)
    assert rounds == [1]
    assert first.number == 1
    assert sorted(path.name for path in Path(job.workspace).iterdir()) == before
