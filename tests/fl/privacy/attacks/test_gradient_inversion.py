"""A signal computed back from one gradient, and how alike two signals are."""

import numpy as np
import pytest
import torch
from torch import nn

from fl.ecg.tasks import RHYTHM
from fl.privacy.attacks.gradient_inversion import (
    correlation,
    invert,
    one_example,
    seen_gradient,
    shifted_correlation,
)
from fl.privacy.attacks.inverted_recordings import invert_recordings


class OneLayer(nn.Module):
    """Its gradient is the signal itself, times a number for each class."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(RHYTHM.leads * RHYTHM.samples, len(RHYTHM.classes))

    def forward(self, signal, lead_mask, features):
        return self.layer((signal * lead_mask[..., None]).flatten(1))


def test_a_gradient_that_holds_the_signal_gives_it_back(few):
    torch.manual_seed(0)
    network, batch = OneLayer(), one_example(few, 0)
    found = invert(network, RHYTHM, batch, seen_gradient(network, RHYTHM, batch), 0, steps=100)
    assert found.cosine > 0.9
    for lead in np.flatnonzero(batch.lead_mask[0].numpy()):
        true = batch.signal[0, lead].numpy()
        other = one_example(few, 1).signal[0, lead].numpy()
        assert correlation(found.signal[lead], true) > 0.8
        assert abs(correlation(found.signal[lead], other)) < 0.5


def test_correlation_at_the_best_shift_finds_a_signal_that_came_later():
    time = np.arange(500) / 100
    beat = np.exp(-(((time - 1.0) / 0.05) ** 2)).astype(np.float32)
    later = np.roll(beat, 130)
    assert abs(correlation(beat, later)) < 0.1
    assert shifted_correlation(beat, later) == pytest.approx(1.0, abs=1e-4)
    assert correlation(beat, np.zeros(500, np.float32)) == 0.0
    assert shifted_correlation(beat, np.zeros(500, np.float32)) == 0.0


def test_recordings_of_several_patients_are_attacked_one_by_one(few):
    found = invert_recordings(few, 2, 0, steps=3)
    assert (found.recordings, found.network, found.steps) == (2, "cnn_simple", 3)
    assert len(found.leads) == 2  # those of these recordings, and no other
    assert invert_recordings(few.take(np.zeros(1, np.int64)), 2, 0, steps=3) is None
