"""The rhythm classes of every ten seconds, by a rhythm model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.records import Record
from fl.ecg.rhythm.windows import WINDOW_SECONDS
from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.predict.inference import predict_recording
from fl.predict.saved_model import SavedModel, load_model
from fl.util.errors import ConfigError, UnusableRecord

FLAG = "--rhythm-weights"
FIBRILLATION = "AF"


@dataclass(frozen=True, kw_only=True)
class RhythmWindow:
    """The answer to one window, which begins at sample `start` of the input."""

    start: int
    facts: dict[str, Any]  # of the event


def load_rhythm_model(path: Path) -> SavedModel:
    """The model of a weights file; `ConfigError` unless it is a rhythm model."""
    model = load_model(path)
    if FIBRILLATION not in model.task.classes:
        raise ConfigError(
            f"{FLAG} {path}: the model is for the task {model.task.name!r}. Accepted: one for "
            "'rhythm'; give a model of heartbeats with --weights."
        )
    return model


class RhythmWindows:
    """Samples in; every ten seconds, the classes of these ten seconds come out.

    A window is read as a recording of ten seconds is: what comes after it is not needed.
    """

    def __init__(self, model: SavedModel, leads: Sequence[str], fs: float) -> None:
        """`leads` (lead,) are names of LEADS, `fs` is in Hz."""
        self._model, self._leads, self._fs = model, tuple(leads), fs
        self._size = round(WINDOW_SECONDS * fs)
        self._parts: list[NDArray[np.float32]] = []
        self._start = 0
        self.present = False  # fibrillation, in the last window that could be answered

    def push(self, samples: NDArray[np.float32]) -> Iterator[RhythmWindow]:
        """The windows that the new samples (lead, sample) complete."""
        self._parts.append(samples)
        while sum(part.shape[1] for part in self._parts) >= self._size:
            joined = np.concatenate(self._parts, axis=1)
            self._parts = [joined[:, self._size :].copy()]
            yield self._answer(joined[:, : self._size])
            self._start += self._size

    def _answer(self, signal: NDArray[np.float32]) -> RhythmWindow:
        name = f"{self._start / self._fs:.0f} s"
        record = Record(
            source="",
            name=name,
            patient="",
            signal=signal,
            leads=self._leads,
            fs=self._fs,
            labels=None,
        )
        facts: dict[str, Any] = {"until": round((self._start + self._size) / self._fs, 4)}
        try:
            answer = predict_recording(
                self._model, record, name, source=POOLED_SOURCE, windows=False, detector=""
            )
        except UnusableRecord as error:
            return RhythmWindow(start=self._start, facts=facts | {"cannot_say": error.detail})
        (finding,) = answer.findings
        if finding.cannot_say:
            facts["cannot_say"] = finding.cannot_say
        else:
            facts |= {"classes": list(finding.predicted), "p": finding.p}
            self.present = FIBRILLATION in finding.predicted
        return RhythmWindow(start=self._start, facts=facts)
