"""Frozen layers stay as they were loaded, to the bit, and only the others are trained."""

import numpy as np
import pytest
import torch
from torch import nn

from fl.ecg.tasks import BEAT, RHYTHM_SIGNAL, TASKS
from fl.models import MODELS, NetworkParts, build_network, parameters, parts_of
from fl.training import frozen as module
from fl.training.frozen import FEATURES, frozen_entries, network_to_train, train_mode
from fl.training.loop import TrainingPlan, fit
from fl.training.state_dict import check_local_entries, get_weights, local_entries
from fl.util.errors import ConfigError

PLAN = TrainingPlan(
    seed=0,
    site="site-1",
    round=1,
    rounds=1,
    epochs=1,
    batch_size=64,
    lr=0.01,
    weight_decay=0.5,
    per_recording=8,
    ema=0.5,
)
PLANS = {"adamw": {}, "sgd": {"sgd": True, "momentum": 0.9, "ema": 0.0}}
SMALL = sorted(name for name in MODELS if not name.endswith("_large"))


def trained(model, cohort, task, pull=0.0, **plan):
    """A frozen network's weights before and after a round, and what the optimizer keeps."""
    torch.manual_seed(3)
    network = network_to_train(model, task.name, FEATURES)
    before = get_weights(network)
    plan = TrainingPlan(**(vars(PLAN) | plan))
    state = fit(network, cohort, plan, pull=pull).state
    return network, before, get_weights(network), state


@pytest.mark.parametrize("model", SMALL)
def test_training_moves_the_classifier_alone(model, beats):
    network, before, after, state = trained(model, beats, BEAT)
    classifier = set(parts_of(model, BEAT).classifier)
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert moved
    assert moved <= classifier
    assert before.keys() - classifier == frozen_entries(FEATURES, model, "beat")
    kept = sum(value.numel() for key, value in state.items() if key.endswith("/exp_avg"))
    weights = {name: p for name, p in network.named_parameters() if name in classifier}
    assert kept == parameters(network) == sum(p.numel() for p in weights.values())


@pytest.mark.parametrize("plan", PLANS)
def test_no_optimizer_moves_frozen_weights(plan, beats):
    _, before, after, _ = trained("beat_cnn", beats, BEAT, pull=1.0, **PLANS[plan])
    for name in frozen_entries(FEATURES, "beat_cnn", "beat"):
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_the_classifier_of_a_residual_cnn_is_its_dense_layers_and_its_head():
    names = {name.split(".")[0] for name in parts_of("cnn1d", RHYTHM_SIGNAL).classifier}
    assert names == {"dense", "head"}
    names = {name.split(".")[0] for name in parts_of("beat_cnn", BEAT).classifier}
    assert names == {"dense", "feature_branch", "head", "after_head"}


def test_the_classifier_of_the_picture_network_is_its_dense_layers_and_its_head():
    names = {name.split(".")[0] for name in parts_of("cnn2d", TASKS["beat7"]).classifier}
    assert names == {"dense", "head"}


def test_a_network_without_dense_layers_trains_its_head_alone():
    assert parts_of("lstm", RHYTHM_SIGNAL).classifier == ("head.weight", "head.bias")


def test_without_freeze_every_weight_is_trained():
    assert frozen_entries("none", "cnn1d", "rhythm") == frozenset()
    network = network_to_train("cnn1d", "rhythm", "none")
    assert all(p.requires_grad for p in network.parameters())


class BatchNormed(nn.Module):
    """A frozen part with running statistics and dropout, before a head with dropout."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.dropout(self.body(x)))


def test_frozen_layers_are_in_evaluation_mode_and_the_others_in_training_mode():
    network = BatchNormed()
    network.body.requires_grad_(False)
    train_mode(network)
    assert not any(m.training for m in network.body.modules())
    assert network.dropout.training
    assert network.head.training
    before = network.body[1].running_mean.clone()
    network(torch.randn(16, 4) + 5)
    assert torch.equal(network.body[1].running_mean, before)


def test_without_frozen_layers_training_mode_is_torchs_own():
    network = BatchNormed().eval()
    train_mode(network)
    assert all(m.training for m in network.modules())


@pytest.mark.parametrize(
    ("classifier", "words"),
    [((), "could be trained without the others"), (None, "could be frozen")],
)
def test_a_network_that_does_not_declare_its_layers_is_refused(monkeypatch, classifier, words):
    everything = tuple(build_network("cnn1d", RHYTHM_SIGNAL).state_dict())
    parts = NetworkParts(classifier=everything if classifier is None else classifier)
    monkeypatch.setattr(module, "parts_of", lambda *_: parts)
    frozen_entries.cache_clear()
    try:
        with pytest.raises(ConfigError, match=words) as found:
            frozen_entries(FEATURES, "cnn1d", "rhythm-signal")
    finally:
        frozen_entries.cache_clear()
    assert "--model cnn1d" in str(found.value)


def test_frozen_normalisation_is_no_sites_own():
    assert local_entries("fedbn", "resnet1d", "rhythm")
    assert local_entries("fedbn", "resnet1d", "rhythm", FEATURES) == frozenset()
    with pytest.raises(ConfigError, match="has none outside its frozen layers"):
        check_local_entries("fedbn", "resnet1d", "rhythm", FEATURES)
    check_local_entries("fedavg", "resnet1d", "rhythm", FEATURES)


def test_a_step_computes_no_gradient_of_frozen_layers(beats):
    network, *_ = trained("beat_cnn", beats, BEAT)
    assert all(p.grad is None for p in network.parameters())
    signal = torch.randn(2, BEAT.leads, BEAT.samples)
    read = network.body(network.stem(signal, torch.ones(2, BEAT.leads)))
    assert not read.requires_grad
