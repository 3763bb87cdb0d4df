"""A strategy that adds nothing trains plainly."""

from dataclasses import replace

import numpy as np
import torch

from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_objectives.base import ExtraUpdate, LocalObjective, RoundStart
from clients.personalization.own_model import OwnModel


def test_a_strategy_without_a_field_adds_nothing():
    plain, network = LocalObjective(), torch.nn.Linear(1, 1)
    begin = RoundStart(network=network, weights={})
    assert (begin.mu, begin.sent, begin.kept, begin.device) == (0, {}, {}, "cpu")
    assert plain.penalty(begin) is None
    assert plain.pull(replace(begin, mu=1.0)) == 0
    assert plain.extra(begin, {"w": np.ones(1)}, 0.1) == ExtraUpdate(kept={}, sent={})
    assert plain.before_test(network, None, None) == OwnModel(
        network=network, steps=0, changed=False
    )


def test_only_these_strategies_add_something_at_the_sites():
    added = {name for name, half in LOCAL_OBJECTIVES.items() if half != LocalObjective()}
    assert added == {"fedprox", "scaffold", "finetune"}
