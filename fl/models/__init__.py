"""Networks by name. A new one is one file and one line in `MODELS`."""

from functools import lru_cache

import torch
from torch import nn

from fl.ecg.beat_features import EARLY, FEATURES
from fl.ecg.tasks import Task
from fl.models.beat_gru import BeatGRU
from fl.models.beat_mlp import BeatMLP
from fl.models.blocks import Network, NetworkOptions, SignalDropout, parameters
from fl.models.cnn1d import CNN1D
from fl.models.cnn2d import CNN2D
from fl.models.cnn_lstm import CNNLSTM
from fl.models.cnn_simple import CNNSimple
from fl.models.network_input import NetworkInput, network_input
from fl.models.network_parts import NetworkParts, check_parts, network_parts
from fl.models.recurrent import Recurrent
from fl.models.reslstm_temporalse import ResLSTMTemporalSE
from fl.models.resnet1d import ResNet1D
from fl.util.errors import ConfigError, require_known

_EARLY = tuple(FEATURES.index(name) for name in EARLY)
_IRREGULAR = FEATURES.index("irregular 60")

MODELS: dict[str, NetworkOptions] = {
    "reslstm_temporalse": ResLSTMTemporalSE(),
    "cnn1d": CNN1D(),
    "cnn_lstm": CNNLSTM(),
    "resnet1d": ResNet1D(),
    "lstm": Recurrent(cell="lstm", hidden=56),
    "gru": Recurrent(cell="gru", hidden=64),
    "rnn": Recurrent(cell="rnn", hidden=112),
    "cnn_simple": CNNSimple(),
    # About the size of Ribeiro's network: for large data and a GPU.
    "resnet1d_large": ResNet1D(widths=(192, 240, 344, 392)),
    # For heartbeats: small, so that it cannot memorise 22 patients; half the training beats show
    # only their features; and the early features mostly decide S against N (better in
    # cross-validation over DS1: docs/results.md).
    "beat_cnn": CNN1D(
        width=16,
        depth=3,
        dropout=0.2,
        signal_dropout=0.5,
        early_features=_EARLY,
        irregular=_IRREGULAR,
    ),
    "beat_mlp": BeatMLP(early_features=_EARLY, irregular=_IRREGULAR),
    "beat_gru": BeatGRU(early_features=_EARLY, irregular=_IRREGULAR),
    "beat_gru_causal": BeatGRU(early_features=_EARLY, irregular=_IRREGULAR, both_directions=False),
    # For heartbeats as pictures: small enough for a CPU; with the paper's widths, for a GPU; and
    # with the paper's batch norm, for centralised training.
    "cnn2d": CNN2D(),
    "cnn2d_large": CNN2D(widths=(64, 128, 256), dense=2048),
    "cnn2d_batchnorm": CNN2D(norm="batch"),
}


def check_model(name: str, task: Task) -> None:
    """`ConfigError` if MODELS has no such network, or if it does not read what the task has."""
    require_known(name, MODELS, "--model")
    if trouble := _trouble(name, task):
        usable = ", ".join(models_for(task))
        raise ConfigError(f"--model is {name!r}, {trouble}. Accepted for this task: {usable}.")


def models_for(task: Task) -> list[str]:
    """The networks that read what the task has, by name."""
    return sorted(name for name in MODELS if not _trouble(name, task))


def _trouble(name: str, task: Task) -> str:
    """Why the network cannot be used for the task; "" if it can."""
    if not task.features and getattr(MODELS[name], "needs_features", False):
        return f"which reads features of heartbeats, and the {task.name} task has none"
    if task.feature_groups and getattr(MODELS[name], "early_features", ()):
        return f"which reads features of heartbeats, and those of {task.name} are of recordings"
    if getattr(MODELS[name], "needs_pictures", False) and not task.whole_beats:
        return f"which reads whole heartbeats as pictures, and the {task.name} task has none"
    if getattr(MODELS[name], "centralised_only", False):
        return (
            "whose batch norm is for centralised training alone (benchmarks.studies.beat_pictures)"
        )
    if task.causal:
        read = _input_of(name, task)
        if read.row > 1 and read.later:
            return f"which reads later beats, and the {task.name} task answers from the past alone"
    return ""


def check_signal_dropout(name: str, task: Task) -> None:
    """`ConfigError` unless the network reads a signal and features: one can be hidden."""
    with torch.random.fork_rng(devices=[]):
        network = build_network(name, task)
    if not task.features or not any(isinstance(m, SignalDropout) for m in network.modules()):
        raise ConfigError(
            f"--signal-dropout is for a network that reads a signal and features beside it; "
            f"{name!r} of --task {task.name} does not. Leave it out, or give a task with features: "
            "--rhythm-features all, --task beat."
        )


def row_length(name: str, task: Task) -> int:
    """How many neighbouring examples a network of `MODELS` reads together; 1: each by itself."""
    return _input_of(name, task).row


def _input_of(name: str, task: Task) -> NetworkInput:
    """What a network of `MODELS` declares that it reads. Torch's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        return network_input(build_network(name, task))


def build_network(model: str, task: Task) -> nn.Module:
    """A network of the task's shape; its weights are drawn from torch's global random state."""
    return MODELS[model].build(
        leads=task.leads,
        samples=task.samples,
        features=len(task.features),
        classes=len(task.classes),
    )


@lru_cache(maxsize=32)
def parts_of(model: str, task: Task) -> NetworkParts:
    """The parts that a network of `MODELS` declares for a task.

    Raises ValueError if they do not fit the task's classes and leads. Torch's random state stays
    as it was.
    """
    with torch.random.fork_rng(devices=[]):
        network = build_network(model, task)
    parts = network_parts(network)
    entries = network.state_dict()
    check_parts(parts, entries, classes=len(task.classes), leads=task.leads)
    return parts


__all__ = [
    "MODELS",
    "Network",
    "NetworkOptions",
    "NetworkParts",
    "build_network",
    "check_model",
    "check_signal_dropout",
    "network_parts",
    "parameters",
    "parts_of",
    "row_length",
]
