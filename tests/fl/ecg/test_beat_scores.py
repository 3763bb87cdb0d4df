"""The network of beats that comes with the program, computed without torch."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from support.made_ecg import FS, heartbeats

from fl.ecg.beat_features import FEATURES
from fl.ecg.rhythm.beat_scores import (
    CLASSES,
    beat_measures,
    probabilities,
    share_in_runs,
    shipped_weights,
)
from fl.models.beat_mlp import BeatMLP


def test_the_numbers_are_those_of_the_torch_network():
    network = BeatMLP().build(leads=1, samples=1, features=len(FEATURES), classes=len(CLASSES))
    weights = {name: torch.from_numpy(value.copy()) for name, value in shipped_weights().items()}
    network.load_state_dict(weights)
    features = np.random.default_rng(0).normal(0, 1.5, (50, len(FEATURES))).astype(np.float32)
    empty = torch.zeros(50, 1)
    with torch.no_grad():
        expected = network.eval()(empty, empty, torch.from_numpy(features)).softmax(dim=1)
    assert probabilities(shipped_weights(), features) == pytest.approx(expected.numpy(), abs=1e-5)


def with_beat_at(lead, peaks, sample, wide):
    """The lead with another beat: a premature normal one, or a wide and large one."""
    t = (np.arange(lead.shape[1]) - sample) / FS
    width, height = (0.07, -1.8) if wide else (0.02, 1.0)
    wave = height * np.exp(-((t / width) ** 2))
    return lead + wave[None].astype(np.float32), np.sort([*peaks, sample])


def test_an_early_normal_beat_is_s_and_an_early_wide_one_is_v():
    lead = heartbeats(60, seconds=20.0)
    peaks = np.rint(np.arange(0.4, 20.0, 1.0) * FS).astype(np.int64)
    plain = beat_measures(lead, FS, peaks)
    early = round(10.9 * FS)  # 0.5 s after a beat
    rest = np.delete(peaks, np.abs(peaks - early - 0.5 * FS).argmin())
    (narrow, found), (wide, _) = (with_beat_at(lead, rest, early, w) for w in (False, True))
    s, v = beat_measures(narrow, FS, found), beat_measures(wide, FS, found)
    assert s["highest S"] > plain["highest S"] + 1
    assert v["highest V"] > plain["highest V"] + 2
    assert v["highest V"] > s["highest V"] + 1
    assert plain["runs S"] == plain["runs V"] == 0


def test_the_second_highest_is_below_the_highest_and_above_nothing_else():
    peaks = np.rint(np.arange(0.4, 20.0, 1.0) * FS).astype(np.int64)
    found = beat_measures(heartbeats(60, seconds=20.0), FS, peaks)
    for name in "SV":
        assert found[f"second {name}"] <= found[f"highest {name}"]
        assert found[f"mean {name}"] <= found[f"highest {name}"]
    assert beat_measures(heartbeats(60), FS, peaks[:2]) == {}


def test_a_run_has_at_least_three_beats():
    present = np.array([1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0], dtype=bool)
    assert share_in_runs(present) == pytest.approx(7 / 12)
    assert share_in_runs(present[:3]) == 0
    assert share_in_runs(np.ones(3, dtype=bool)) == 1


def test_preprocessing_loads_no_torch():
    code = (
        "import sys; from fl.ecg.rhythm.beat_scores import shipped_weights; shipped_weights();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
