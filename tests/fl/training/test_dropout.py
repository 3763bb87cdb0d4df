"""Dropout of another strength than the network's own."""

from dataclasses import replace

import pytest
import torch
from support.made_cohorts import without_features
from torch import nn

from fl.config.config_file import load_config
from fl.ecg.tasks import RHYTHM_SIGNAL, TASKS
from fl.models import build_network, check_signal_dropout
from fl.models.blocks import SignalDropout
from fl.training.dropout import dropout_set_to
from fl.training.loop import TrainingPlan, fit
from fl.util.errors import ConfigError

PLAN = TrainingPlan(
    seed=0, site="a", round=1, rounds=1, epochs=1, batch_size=8, lr=2e-3, weight_decay=0.01
)


def shares(network):
    return [m.p for m in network.modules() if isinstance(m, nn.Dropout)]


def test_every_dropout_layer_has_the_given_share_and_afterwards_its_own_again():
    network = build_network("reslstm_temporalse", TASKS["rhythm"])
    own = shares(network)
    assert own
    with dropout_set_to(network, 0.4):
        assert set(shares(network)) == {0.4}
    assert shares(network) == own
    with dropout_set_to(network, -1.0):
        assert shares(network) == own


def test_training_uses_it_and_the_network_is_as_it_was(few):
    def trained(dropout):
        torch.manual_seed(0)
        network = build_network("cnn_simple", RHYTHM_SIGNAL)
        own = shares(network)
        fit(network, without_features(few), replace(PLAN, dropout=dropout))
        assert shares(network) == own
        return network.head.weight

    assert torch.equal(trained(-1.0), trained(0.1))  # its own is .1
    assert not torch.equal(trained(-1.0), trained(0.5))


@pytest.mark.parametrize("value", [-0.5, 1.0, -2])
@pytest.mark.parametrize("name", ["dropout", "signal_dropout"])
def test_a_share_that_is_none_is_refused(value, name):
    with pytest.raises(ConfigError, match=rf"^--{name.replace('_', '-')} is "):
        load_config({name: value})


def test_signals_are_hidden_from_the_given_share_of_examples():
    network = build_network("reslstm_temporalse", TASKS["rhythm"])
    (layer,) = (m for m in network.modules() if isinstance(m, SignalDropout))
    own = shares(network)
    with dropout_set_to(network, -1.0, 0.3):
        assert (layer.p, shares(network)) == (0.3, own)
    assert layer.p == 0
    network = build_network("beat_cnn", TASKS["beat"])
    (layer,) = (m for m in network.modules() if isinstance(m, SignalDropout))
    with dropout_set_to(network, 0.1, -1.0):
        assert layer.p == 0.5
        assert set(shares(network)) == {0.1}


@pytest.mark.parametrize(
    ("model", "task"), [("reslstm_temporalse", "rhythm-signal"), ("beat_mlp", "beat")]
)
def test_a_network_that_has_only_one_of_the_two_is_refused(model, task):
    with pytest.raises(ConfigError, match=rf"^--signal-dropout .*{model}.*--task {task} does not"):
        check_signal_dropout(model, TASKS[task])
    check_signal_dropout("reslstm_temporalse", TASKS["rhythm"])
    check_signal_dropout("beat_cnn", TASKS["beat"])
