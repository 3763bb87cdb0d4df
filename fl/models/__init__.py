"""Networks by name. A new one is one file and one line in `MODELS`."""

from fl.models.blocks import Model, Network, parameters
from fl.models.cnn1d import CNN1D
from fl.models.cnn_lstm import CNNLSTM
from fl.models.lstm import LSTM
from fl.models.reslstm import ResLSTMTemporalSE
from fl.models.resnet1d import ResNet1D

MODELS: dict[str, Model] = {
    "reslstm_temporalse": ResLSTMTemporalSE(),
    "cnn1d": CNN1D(),
    "cnn_lstm": CNNLSTM(),
    "resnet1d": ResNet1D(),
    "lstm": LSTM(),
}

__all__ = ["MODELS", "Model", "Network", "parameters"]
