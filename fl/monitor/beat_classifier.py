"""The classes of heartbeats, one beat at a time, by a model that reads nothing later."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl.ecg.tasks import BEAT_CAUSAL
from fl.evaluation.decisions.decision_rule import answer
from fl.models.beat_gru import RowNetwork
from fl.models.network_input import network_input
from fl.monitor.beat_history import BeatHistory, BeatInput
from fl.predict.saved_model import FLAG, SavedModel, load_model
from fl.util.errors import ConfigError

DECIMALS = 7  # of the network's probabilities, as `fl.training.loop.predict` rounds them


@dataclass(frozen=True, kw_only=True)
class BeatAnswer:
    """The class of a beat, and the probability of each."""

    predicted: str
    p: dict[str, float]


def load_beat_model(path: Path, source: str) -> SavedModel:
    """The model of a weights file; `ConfigError` unless it answers from the past alone.

    A model of the task `beat` compares a beat with the whole recording and with the beats after
    it, which are not there yet.
    """
    model = load_model(path)
    if not model.task.causal:
        raise ConfigError(
            f"{FLAG} {path}: the model is for the task {model.task.name!r}, which reads what comes "
            f"later. A monitor needs one for {BEAT_CAUSAL.name!r}: heartfed simulate --task "
            f"{BEAT_CAUSAL.name} --model beat_gru_causal"
        )
    model.require_source(source)
    return model


class BeatClassifier:
    """Beats in, one by one, in order of time; the class of each comes out."""

    def __init__(self, model: SavedModel, source: str) -> None:
        """`model` as of `load_beat_model`; `source` names its calibration and thresholds."""
        self._model, self._source = model, source
        self._history = BeatHistory()
        self._network = model.network.eval()
        self._rows = _Rows(self._network) if isinstance(self._network, RowNetwork) else None

    def push(self, window: NDArray[np.float32], seconds: float) -> BeatAnswer | None:
        """The answer to a beat as of `BeatHistory.push`; None for the first beat."""
        found = None
        for beat in self._history.push(window, seconds):
            found = self._probabilities(beat)
        return None if found is None else self._answer(found)

    def _probabilities(self, beat: BeatInput) -> NDArray[np.float64]:
        """Of each class: (class,)."""
        features = torch.from_numpy(beat.features)[None]
        with torch.inference_mode():
            if self._rows is not None:
                logits = self._rows.push(features)
            else:
                signal = torch.from_numpy(beat.signal)[None]
                if not network_input(self._network).signal:
                    signal = signal[:, :, :0]
                logits = self._network(signal, torch.ones(1, 2), features)
            p = logits.double().softmax(dim=1)
        return np.asarray(np.round(p.numpy()[0], DECIMALS))

    def _answer(self, p: NDArray[np.float64]) -> BeatAnswer:
        classes = self._model.task.classes
        calibrated, predicted = answer(self._model.rule, p[None], [self._source], classes)
        return BeatAnswer(
            predicted=classes[int(predicted[0].argmax())],
            p=dict(zip(classes, calibrated[0].tolist(), strict=True)),
        )


class _Rows:
    """The rows of beats that a recurrent network reads, as in training: `row` beats at most.

    As `fl.data.beat_rows.covering_rows` does, a row begins at every half of its length, and a beat
    is answered in the row that began earlier: it sees between half and all of a row before it.
    """

    def __init__(self, network: RowNetwork) -> None:
        self._network, self._half = network, network.input.row // 2
        self._state = torch.zeros(1, 2, network.gru.hidden_size)  # the earlier row, the later one
        self._beats = 0

    def push(self, features: Tensor) -> Tensor:
        """Logits (1, class) of the next beat, from its features (1, feature)."""
        if self._beats and not self._beats % self._half:
            if self._beats > self._half:
                self._state = self._state[:, [1, 0]]
            self._state[:, 1] = 0  # begins here
        self._beats += 1
        logits, self._state = self._network.step(features.expand(2, -1), self._state)
        return logits[:1]
