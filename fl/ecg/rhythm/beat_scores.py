"""What a network that has learnt heartbeats finds in a recording: its S and V beats.

The network is that of `fl/models/beat_mlp.py` with the classes N, S and V. It was trained on SVDB
alone, which no rhythm training or test uses: `svdb_beats.md` beside its weights says how. Its two
dense layers are computed here with NumPy, so that worker processes that preprocess need no torch.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.beat_examples import FEWEST_BEATS
from fl.ecg.beat_features import beat_features
from fl.ecg.beat_segments import BEAT_AFTER, BEAT_BEFORE, BEAT_FS
from fl.ecg.filters import Signal, remove_baseline, resample, windows_around, zscore
from fl.ecg.qrs_detection import Peaks
from fl.util.imports.fast_import import import_quietly

CLASSES = ("N", "S", "V")
WEIGHTS = "svdb_beats.safetensors"
RUN = 3  # beats in a row, at least: a run
LOWEST = 1e-4  # probability; log-odds end there

Weights = Mapping[str, NDArray[np.float32]]


def features_of_beats(lead: Signal, fs: float, peaks: Peaks) -> NDArray[np.float32]:
    """Timing and shape of each beat of one lead: (1, sample) mV, (beat,) -> (beat, feature).

    As in the beat task, with this lead in place of lead II and `peaks` in samples.
    """
    at_rate = zscore(remove_baseline(resample(lead, fs, BEAT_FS), BEAT_FS))
    centres = np.rint(peaks * (BEAT_FS / fs)).astype(np.int64)
    beats = windows_around(at_rate, centres, BEAT_BEFORE, BEAT_AFTER)[:, 0]
    return beat_features(beats, peaks / fs)


def beat_measures(lead: Signal, fs: float, peaks: Peaks) -> dict[str, float]:
    """What the network finds in the beats at `peaks`; {} with fewer than three beats.

    Log-odds of the highest, the second highest and the mean probability of S and of V, and the
    shares of beats in runs of three or more S or V.
    """
    if len(peaks) < FEWEST_BEATS:
        return {}
    p = probabilities(shipped_weights(), features_of_beats(lead, fs, peaks))
    found = {}
    for name in ("S", "V"):
        of_class = p[:, CLASSES.index(name)]
        highest = np.sort(of_class)[::-1]
        for measure, value in (
            ("highest", highest[0]),
            ("second", highest[1]),
            ("mean", of_class.mean()),
        ):
            clipped = float(np.clip(value, LOWEST, 1 - LOWEST))
            found[f"{measure} {name}"] = float(np.log(clipped / (1 - clipped)))
        found[f"runs {name}"] = share_in_runs(p.argmax(axis=1) == CLASSES.index(name))
    return found


def share_in_runs(present: NDArray[np.bool_]) -> float:
    """Share of the beats that are in a run of three or more that are `present`: (beat,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= RUN].sum() / len(present))


def probabilities(weights: Weights, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The network's probabilities of N, S and V: (beat, feature) -> (beat, class)."""
    hidden = features.astype(np.float64)
    for layer in ("mlp.0", "mlp.3"):
        hidden = np.maximum(_linear(weights, layer, hidden), 0.0)
    return np.asarray(scipy.special.softmax(_linear(weights, "head", hidden), axis=1))


def _linear(weights: Weights, layer: str, values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"])


@lru_cache(maxsize=1)
def shipped_weights() -> Weights:
    """The weights that come with the program, read once in a process."""
    stored = files("fl.ecg.rhythm").joinpath(WEIGHTS).read_bytes()
    weights: Weights = import_quietly("safetensors.numpy").load(stored)
    return weights
