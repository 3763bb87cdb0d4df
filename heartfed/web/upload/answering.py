"""The answers of the models to one recording, and why they gave them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fl.ecg.qrs_detection import SHORT_DETECTOR, detect_beats
from fl.ecg.records import Record
from fl.explain.saliency import usual_method
from fl.predict.answerable import without_signal
from fl.predict.explanation import ExplainedAnswer, explain_findings
from fl.predict.inference import Prepared, predict_prepared, prepare
from fl.predict.output import CsvWriter, JsonWriter
from fl.predict.prediction import RecordingPrediction
from fl.util.errors import ConfigError, DataError
from heartfed.web.settings import ServedModel
from heartfed.web.upload.reading import ReadUpload

# A network is asked by one thread at a time: it is moved and set to evaluation by whoever asks.
_LOCKS: WeakKeyDictionary[nn.Module, threading.Lock] = WeakKeyDictionary()
_NEW_LOCK = threading.Lock()


def _lock_of(network: nn.Module) -> threading.Lock:
    with _NEW_LOCK:
        return _LOCKS.setdefault(network, threading.Lock())


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """What one model answered, or why it did not."""

    served: ServedModel
    prediction: RecordingPrediction | None
    prepared: Prepared | None = None
    error: str = ""  # why there is no prediction

    @property
    def is_of_beats(self) -> bool:
        """Whether it has an answer for each heartbeat."""
        return self.served.model.task.exclusive

    @property
    def cannot_say(self) -> str:
        """Why nothing is answered; "" if a part is."""
        return self.prediction.cannot_say if self.prediction else self.error

    def as_csv(self, source: str) -> str:
        """As `heartfed predict --csv` prints it."""
        assert self.prediction is not None
        writer = CsvWriter(self.served.model, source)
        return writer.some([self.prediction]) + writer.end()

    def as_json(self, source: str) -> str:
        """As `heartfed predict --json` prints it."""
        assert self.prediction is not None
        writer = JsonWriter(self.served.model, source)
        return writer.some([self.prediction]) + writer.end()


@dataclass(frozen=True, kw_only=True)
class AnsweredUpload:
    """A recording and all that was answered of it."""

    name: str
    record: Record | None
    cannot_say: str  # why no model was asked; "" if they were
    answers: tuple[ModelAnswer, ...]
    explained: dict[tuple[int, int, str], ExplainedAnswer] = field(default_factory=dict)

    @cached_property
    def size(self) -> int:
        """Bytes in memory, at most: examples take less than twice the signal for each model."""
        signal = self.record.signal.nbytes if self.record is not None else 0
        findings = sum(len(a.prediction.findings) for a in self.answers if a.prediction)
        return signal * (1 + 2 * len(self.answers)) + 2000 * findings + 10_000

    @cached_property
    def found_peaks(self) -> NDArray[np.int64]:
        """(beat,) R peaks in samples, found by no model, to point at where no model is of beats."""
        record = self.record
        if record is None:
            return np.zeros(0, dtype=np.int64)
        if record.cut_beats is not None:
            return record.cut_beats.starts
        lead = record.leads.index("II") if "II" in record.leads else 0
        return detect_beats(SHORT_DETECTOR, record.signal[lead], record.fs)


def answer_upload(read: ReadUpload, models: Sequence[ServedModel], source: str) -> AnsweredUpload:
    """Every model's answer to what was read of an upload."""
    return AnsweredUpload(
        name=read.name,
        record=read.record,
        cannot_say=read.cannot_say,
        answers=tuple(_answer(read, served, source) for served in models),
    )


def _answer(read: ReadUpload, served: ServedModel, source: str) -> ModelAnswer:
    if read.cannot_say or read.record is None:
        nothing = RecordingPrediction(
            record=read.name, fs=0.0, leads=(), beats="", findings=(), cannot_say=read.cannot_say
        )
        return ModelAnswer(served=served, prediction=nothing)
    try:
        with _lock_of(served.model.network):
            prepared = prepare(served.model, read.record, False, "")
            found = predict_prepared(served.model, read.record, read.name, prepared, source)
    except (ConfigError, DataError) as error:
        why_not = without_signal(read.name, error)
        return ModelAnswer(served=served, prediction=why_not, error="" if why_not else str(error))
    except Exception as error:
        # The text of an unexpected error could hold what the file says about a patient.
        text = f"the model cannot be applied ({type(error).__name__} in HeartFed); report it"
        return ModelAnswer(served=served, prediction=None, error=text)
    return ModelAnswer(served=served, prediction=found, prepared=prepared)


def explanation(
    upload: AnsweredUpload, number: int, finding: int, target: str, source: str
) -> ExplainedAnswer | None:
    """Where a model looked for one finding and class; None where there is nothing to explain."""
    key = number, finding, target
    if key in upload.explained:
        return upload.explained[key]
    if not 0 <= number < len(upload.answers) or upload.record is None:
        return None
    answer = upload.answers[number]
    if answer.prediction is None or answer.prepared is None:
        return None
    findings = answer.prediction.findings
    if not 0 <= finding < len(findings) or findings[finding].p.get(target) is None:
        return None
    model = answer.served.model
    with _lock_of(model.network):
        (found,) = explain_findings(
            model,
            upload.record,
            answer.prepared,
            answer.prediction,
            [(finding, target)],
            usual_method(model.network),
            source,
        )
    upload.explained[key] = found
    return found


def peaks_of(answer: ModelAnswer) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(finding,) R peaks of a beat model's findings, in samples."""
    assert answer.prediction is not None
    return np.array([finding.peak for finding in answer.prediction.findings], dtype=np.int64)
