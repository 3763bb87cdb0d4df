"""Heartbeats are found without annotations, and measured by how much they stand out."""

import numpy as np
import pytest
from support.made_ecg import FS, heartbeats, noise

from fl.ecg.beat_likeness import beat_likeness


@pytest.mark.parametrize("rate", [25, 60, 150, 280])
def test_the_heart_rate_is_that_of_the_signal(rate):
    assert beat_likeness(heartbeats(rate), FS).rate == pytest.approx(rate, rel=0.03)


def test_heartbeats_are_alike_and_noise_is_not():
    beats, noisy = (beat_likeness(x, FS) for x in (heartbeats(70), noise("pink")))
    assert beats.likeness[0] > 0.95
    assert beats.prominence[0] > 20
    assert noisy.likeness[0] < 0.6
    assert noisy.prominence[0] < 4


def test_beats_of_two_shapes_in_turn_find_their_like():
    normal, other = heartbeats(30), heartbeats(30, noise=0.0)
    bigeminy = normal - np.roll(other, round(FS), axis=1)  # every second beat upside down
    assert beat_likeness(bigeminy, FS).likeness[0] > 0.9


def test_each_lead_has_its_own_measures():
    found = beat_likeness(np.vstack([heartbeats(70), noise("white")]), FS)
    assert found.likeness[0] > 0.9 > 0.5 > found.likeness[1]


def test_a_flat_signal_has_no_heartbeats():
    found = beat_likeness(np.zeros((2, 2500), dtype=np.float32), FS)
    assert found.rate == 0
    assert not found.likeness.any()
