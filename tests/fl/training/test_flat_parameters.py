"""Weights in one row per learning rate: the network's own declaration decides the rates."""

import torch
from torch import nn

from fl.ecg.tasks import BEAT
from fl.models import build_network
from fl.training.flat_parameters import FlatParameters


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.arrhythmia = nn.Linear(3, 2)
        self.rr = nn.Linear(2, 2)  # declares nothing
        self.head = nn.Linear(2, 2)


def test_a_parameter_called_arrhythmia_has_the_ordinary_rate():
    rows = FlatParameters.of(Toy())
    assert rows.rate_factors == (1.0,)
    assert set(rows.named[0]) >= {"arrhythmia.weight", "arrhythmia.bias", "rr.weight"}


def test_the_feature_branch_learns_twice_as_fast():
    rows = FlatParameters.of(build_network("beat_cnn", BEAT))
    assert rows.rate_factors == (1.0, 2.0)
    ordinary, fast = rows.named
    assert fast
    of_features = ("feature_branch.", "after_head.")
    assert all(name.startswith(of_features) for name in fast)
    assert not any(name.startswith(of_features) for name in ordinary)


def test_parameters_are_views_of_the_rows_until_they_are_released():
    network = Toy()
    before = [p.detach().clone() for p in network.parameters()]
    rows = FlatParameters.of(network)
    with torch.no_grad():
        rows.weights[0].add_(1.0)
    for parameter, value in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, value + 1)
    rows.release()
    with torch.no_grad():
        rows.weights[0].zero_()
    for parameter, value in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, value + 1)


def test_the_rows_hold_the_gradients_of_their_parameters():
    network = Toy()
    rows = FlatParameters.of(network)
    rows.differentiate(network.arrhythmia.weight.sum() * 3 + network.head.bias.sum())
    gradient = rows.weights[0].grad
    pieces = torch.split(gradient, [p.numel() for p in network.parameters()])
    by_name = dict(zip([n for n, _ in network.named_parameters()], pieces, strict=True))
    assert (by_name["arrhythmia.weight"] == 3).all()
    assert (by_name["head.bias"] == 1).all()
    assert (by_name["rr.weight"] == 0).all()
