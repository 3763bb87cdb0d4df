"""Networks by name. A new one is one file and one line in `MODELS`."""

from fl.ecg.beat_features import EARLY, FEATURES
from fl.ecg.tasks import Task
from fl.models.blocks import Network, NetworkOptions, parameters
from fl.models.cnn1d import CNN1D
from fl.models.cnn_lstm import CNNLSTM
from fl.models.lstm import LSTM
from fl.models.reslstm_temporalse import ResLSTMTemporalSE
from fl.models.resnet1d import ResNet1D

MODELS: dict[str, NetworkOptions] = {
    "reslstm_temporalse": ResLSTMTemporalSE(),
    "cnn1d": CNN1D(),
    "cnn_lstm": CNNLSTM(),
    "resnet1d": ResNet1D(),
    "lstm": LSTM(),
    # About the size of Ribeiro's network: for large data and a GPU.
    "resnet1d_large": ResNet1D(widths=(192, 240, 344, 392)),
    # For heartbeats: little room to learn 22 patients by heart, and half the beats in training
    # show their features only; the early features have most of the word on S against N (better in
    # cross-validation over DS1: docs/results.md).
    "beat_cnn": CNN1D(
        width=16,
        depth=3,
        dropout=0.2,
        silence=0.5,
        early=tuple(FEATURES.index(name) for name in EARLY),
    ),
}


def build_network(model: str, task: Task) -> Network:
    """A network in the shape of the task, with weights from torch's present random state."""
    return MODELS[model].build(
        leads=task.leads,
        samples=task.samples,
        features=len(task.features),
        classes=len(task.classes),
    )


__all__ = ["MODELS", "Network", "NetworkOptions", "build_network", "parameters"]
