"""Predictions as lines to read, as CSV and as JSON, written as they come."""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from textwrap import indent
from typing import Any

from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.predict.holter_tables import summary_lines
from fl.predict.prediction import RecordingPrediction, SegmentPrediction
from fl.predict.saved_model import SavedModel
from fl.reports.number_format import number


class PredictionWriter(ABC):
    """Turns predictions into text piece by piece; all pieces together are the whole output."""

    def __init__(self, model: SavedModel, source: str) -> None:
        self.model, self.source = model, source
        self.begun = False

    def some(self, predictions: Sequence[RecordingPrediction]) -> str:
        """The text of the next predictions, after the head if they are the first."""
        if not predictions:
            return ""
        head = "" if self.begun else self._head(predictions)
        text = head + "".join(self._one(prediction) for prediction in predictions)
        self.begun = True
        return text

    def end(self) -> str:
        """What follows the last prediction; nothing if there was none."""
        return self._tail() if self.begun else ""

    @abstractmethod
    def _head(self, first: Sequence[RecordingPrediction]) -> str: ...

    @abstractmethod
    def _one(self, prediction: RecordingPrediction) -> str: ...

    def _tail(self) -> str:
        return ""


class TextWriter(PredictionWriter):
    """A line per recording, window or beat: its samples, predicted classes and probabilities.

    Above the lines stand the thresholds that the probabilities are compared with, and below them
    the summary of each recording's beats by the hour. The first predictions set the widths.
    """

    def _head(self, first: Sequence[RecordingPrediction]) -> str:
        classes = self.model.task.classes
        self.width = max([6, *(len(_place(p, f)) for p in first for f in p.findings)])
        self.width = max([self.width, *(len(p.record) for p in first)])
        self.predicted = max([9, *(len(_predicted(f)) for p in first for f in p.findings)])
        self.summaries: list[str] = []
        head = f"{'record':{self.width}}  {'samples':>17}  {'predicted':{self.predicted}}  "
        thresholds = self.model.rule.thresholds[self.source]
        used = " ".join(f"{_probability(thresholds.get(c)):>5}" for c in classes)
        of = f"thresholds ({source_in_words(self.source)})"
        named = " ".join(f"{c:>5}" for c in classes)
        return f"{of:{len(head)}}{used}\n{head}{named}\n"

    def _one(self, prediction: RecordingPrediction) -> str:
        name = f"{prediction.record:{self.width}}"
        lines = []
        for segment in prediction.findings:
            samples = f"{segment.start}-{segment.end}"
            p = " ".join(f"{_probability(segment.p[c]):>5}" for c in self.model.task.classes)
            answer = f"{_predicted(segment):{self.predicted}}  {p}"
            if segment.cannot_say:
                answer = f"cannot say: {segment.cannot_say}"
            place = f"{_place(prediction, segment):{self.width}}"
            lines.append(f"{place}  {samples:>17}  {answer}\n")
        if not prediction.findings:
            lines.append(f"{name}  {'':>17}  cannot say: {prediction.cannot_say}\n")
        if prediction.summary is not None:
            found = summary_lines(prediction.record, prediction.beats, prediction.summary)
            self.summaries += ["", *found]
        return "".join(lines)

    def _tail(self) -> str:
        return "".join(f"{line}\n" for line in self.summaries)


class CsvWriter(PredictionWriter):
    """A line per recording, window or beat, and no summary; `peak` is empty except for beats."""

    def _head(self, first: Sequence[RecordingPrediction]) -> str:
        p = [f"p_{c}" for c in self.model.task.classes]
        return _csv_lines([["record", "start", "end", "peak", "predicted", *p, "cannot_say"]])

    def _one(self, prediction: RecordingPrediction) -> str:
        classes = self.model.task.classes
        lines: list[list[Any]] = []
        for segment in prediction.findings:
            peak = "" if segment.peak is None else segment.peak
            p = ["" if segment.p[c] is None else f"{segment.p[c]:.7f}" for c in classes]
            where = [_place(prediction, segment), segment.start, segment.end, peak]
            lines.append([*where, "|".join(segment.predicted), *p, segment.cannot_say])
        if not prediction.findings:
            lines.append([prediction.record, *[""] * (4 + len(classes)), prediction.cannot_say])
        return _csv_lines(lines)


class JsonWriter(PredictionWriter):
    """One object: what the model is, the thresholds that were used, and all predictions."""

    def _head(self, first: Sequence[RecordingPrediction]) -> str:
        facts = {
            "task": self.model.task.name,
            "model": self.model.name,
            "strategy": self.model.strategy,
            "synthetic": self.model.synthetic,
            "source": self.source,
            "thresholds": self.model.rule.thresholds[self.source],
            "calibration": self.model.rule.to_json()["calibration"][self.source],
        }
        self.separator = ""
        return json.dumps(facts, indent=1).removesuffix("\n}") + ',\n "records": ['

    def _one(self, prediction: RecordingPrediction) -> str:
        text = indent(json.dumps(_as_json(prediction), indent=1), "  ")
        separator, self.separator = self.separator, ","
        return f"{separator}\n{text}"

    def _tail(self) -> str:
        return "\n ]\n}\n"


class JsonLinesWriter(PredictionWriter):
    """One object a line and recording: what the model is stands in each."""

    def _head(self, first: Sequence[RecordingPrediction]) -> str:
        self.facts = {
            "task": self.model.task.name,
            "model": self.model.name,
            "strategy": self.model.strategy,
            "synthetic": self.model.synthetic,
            "source": self.source,
        }
        return ""

    def _one(self, prediction: RecordingPrediction) -> str:
        return json.dumps(self.facts | _as_json(prediction)) + "\n"


def _place(prediction: RecordingPrediction, segment: SegmentPrediction) -> str:
    """The recording; of a single beat in a table its line too, `beats.csv:3`."""
    return prediction.record if segment.line is None else f"{prediction.record}:{segment.line}"


def _as_json(prediction: RecordingPrediction) -> dict[str, Any]:
    """All fields; `line` where a finding is a single beat of a table."""
    content = asdict(prediction)
    for finding in content["findings"]:
        if finding["line"] is None:
            del finding["line"]
    return content


def _csv_lines(lines: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def source_in_words(source: str) -> str:
    """Whose thresholds they are."""
    return "of all sources" if source == POOLED_SOURCE else f"of {source}"


def _probability(p: float | None) -> str:
    return "-" if p is None else number(p)


def _predicted(segment: SegmentPrediction) -> str:
    return ",".join(segment.predicted) or "-"
