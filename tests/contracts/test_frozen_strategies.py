"""Frozen layers stay as they were loaded at every site and at the server, under every strategy."""

from pathlib import Path

import numpy as np
import pytest
from support.rounds import digest, run
from support.saved_models import save_model

from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_objectives.base import LocalObjective
from clients.local_training import network_for
from fl.ecg.tasks import RHYTHM
from fl.models import parts_of
from fl.training.frozen import frozen_entries
from fl.training.state_dict import get_weights, load_weights
from server.aggregation.strategies import STRATEGIES
from server.app import initial_weights

MODEL = "resnet1d"
FROZEN = frozen_entries("features", MODEL, "rhythm")
SETTINGS = {"freeze": "features", "lr": 0.01, "weight_decay": 0.1, "local_epochs": 1}


@pytest.fixture
def saved(tmp_path):
    return save_model(tmp_path / "before", MODEL, "rhythm")


def assert_frozen(found, saved):
    expected = load_weights(saved)
    for name in FROZEN:
        assert found[name].tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("name", STRATEGIES)
def test_frozen_layers_stay_as_they_were_under_every_strategy(name, make_job, saved, monkeypatch):
    at_sites = []
    half = LOCAL_OBJECTIVES[name]

    def look(begin, end, lr_sum):
        at_sites.append(end)
        return half.extra(begin, end, lr_sum)

    watched = LocalObjective(**(vars(half) | {"extra": look}))
    monkeypatch.setitem(LOCAL_OBJECTIVES, name, watched)
    job = make_job(2, strategy=name, init_from=str(saved), **SETTINGS)
    watching, _ = run(job)
    assert watching.failed == []
    assert len(at_sites) == 4  # two sites, two rounds
    for found in at_sites:
        assert_frozen(found, saved)
    folder = Path(job.workspace) / "weights"
    last = load_weights(folder / f"{name}-last.safetensors")
    for found in (last, load_weights(folder / f"{name}-best.safetensors")):
        assert_frozen(found, saved)
    start = initial_weights(job)
    for entry in parts_of(MODEL, RHYTHM).classifier:
        assert not np.array_equal(last[entry], start[entry])
    assert_frozen(get_weights(network_for(MODEL, "rhythm", "features")), saved)


@pytest.mark.parametrize("proximal", ["decoupled", "loss"])
def test_fedprox_in_either_form_leaves_them(proximal, make_job, saved):
    job = make_job(2, strategy="fedprox", init_from=str(saved), proximal=proximal, **SETTINGS)
    run(job)
    assert_frozen(load_weights(Path(job.workspace) / "weights/fedprox-last.safetensors"), saved)


@pytest.mark.parametrize("averaging", ["evidence", "plain"])
def test_the_same_seed_gives_the_same_bits(averaging, make_job, saved):
    given = {"init_from": str(saved), "averaging": averaging, **SETTINGS}
    one, other = make_job(2, name="one", **given), make_job(2, name="other", **given)
    run(one)
    run(other)
    assert digest(one) == digest(other)


def test_in_a_comparison_every_training_starts_alike_and_freezes_alike(make_job, saved):
    job = make_job(2, compare="fedavg,scaffold", init_from=str(saved), **SETTINGS)
    watching, _ = run(job)
    assert watching.failed == []
    files = sorted((Path(job.workspace) / "weights").glob("*-best.safetensors"))
    names = {file.name.removesuffix("-best.safetensors") for file in files}
    assert names == {"fedavg", "scaffold", "pooled", "local-site-1", "local-site-2"}
    for file in files:
        assert_frozen(load_weights(file), saved)
