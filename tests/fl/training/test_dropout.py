"""Dropout of another strength than the network's own."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fl.config.config_file import load_config
from fl.ecg.tasks import RHYTHM
from fl.models import build_network
from fl.training.dropout import dropout_set_to
from fl.training.loop import TrainingPlan, fit
from fl.util.errors import ConfigError

PLAN = TrainingPlan(
    seed=0, site="a", round=1, rounds=1, epochs=1, batch_size=8, lr=2e-3, weight_decay=0.01
)


def shares(network):
    return [m.p for m in network.modules() if isinstance(m, nn.Dropout)]


def test_every_dropout_layer_has_the_given_share_and_afterwards_its_own_again():
    network = build_network("reslstm_temporalse", RHYTHM)
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
        network = build_network("cnn_simple", RHYTHM)
        own = shares(network)
        fit(network, few, replace(PLAN, dropout=dropout))
        assert shares(network) == own
        return network.head.weight

    assert torch.equal(trained(-1.0), trained(0.1))  # its own is .1
    assert not torch.equal(trained(-1.0), trained(0.5))


@pytest.mark.parametrize("value", [-0.5, 1.0, -2])
def test_a_share_that_is_none_is_refused(value):
    with pytest.raises(ConfigError, match=r"^--dropout is "):
        load_config({"dropout": value})
