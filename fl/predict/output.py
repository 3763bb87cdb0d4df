"""Predictions as lines to read, as CSV and as JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.predict.holter_tables import summary_lines
from fl.predict.prediction import RecordingPrediction, SegmentPrediction
from fl.predict.saved_model import SavedModel
from fl.reports.number_format import number


def as_text(model: SavedModel, predictions: Sequence[RecordingPrediction], source: str) -> str:
    """A line per recording, window or beat: its samples, predicted classes and probabilities.

    Above the lines stand the thresholds that the probabilities are compared with, and below them
    the summary of each recording's beats by the hour.
    """
    classes = model.task.classes
    width = max((len(prediction.record) for prediction in predictions), default=6)
    predicted_width = max([9, *(len(_predicted(f)) for p in predictions for f in p.findings)])
    head = f"{'record':{width}}  {'samples':>17}  {'predicted':{predicted_width}}  "
    lines = [head + " ".join(f"{c:>5}" for c in classes)]
    thresholds = model.rule.thresholds[source]
    used = " ".join(f"{_probability(thresholds.get(c)):>5}" for c in classes)
    of = f"thresholds ({source_in_words(source)})"
    lines = [f"{of:{len(head)}}{used}", *lines]
    for prediction in predictions:
        for segment in prediction.findings:
            samples = f"{segment.start}-{segment.end}"
            p = " ".join(f"{_probability(segment.p[c]):>5}" for c in classes)
            answer = f"{_predicted(segment):{predicted_width}}  {p}"
            if segment.cannot_say:
                answer = f"cannot say: {segment.cannot_say}"
            lines.append(f"{prediction.record:{width}}  {samples:>17}  {answer}")
        if not prediction.findings:
            answer = f"cannot say: {prediction.cannot_say}"
            lines.append(f"{prediction.record:{width}}  {'':>17}  {answer}")
    for prediction in predictions:
        if prediction.summary is not None:
            lines += ["", *summary_lines(prediction.record, prediction.beats, prediction.summary)]
    return "\n".join(lines)


def as_csv(model: SavedModel, predictions: Sequence[RecordingPrediction]) -> str:
    """A line per recording, window or beat, and no summary; `peak` is empty except for beats."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    classes = model.task.classes
    head = ["record", "start", "end", "peak", "predicted", *(f"p_{c}" for c in classes)]
    writer.writerow([*head, "cannot_say"])
    for prediction in predictions:
        for segment in prediction.findings:
            peak = "" if segment.peak is None else segment.peak
            p = ["" if segment.p[c] is None else f"{segment.p[c]:.7f}" for c in classes]
            predicted = "|".join(segment.predicted)
            where = [prediction.record, segment.start, segment.end, peak]
            writer.writerow([*where, predicted, *p, segment.cannot_say])
        if not prediction.findings:
            empty = [""] * (4 + len(classes))
            writer.writerow([prediction.record, *empty, prediction.cannot_say])
    return out.getvalue().rstrip("\n")


def as_json(model: SavedModel, predictions: Sequence[RecordingPrediction], source: str) -> str:
    """All predictions, with what the model is and the thresholds that were used."""
    content = {
        "task": model.task.name,
        "model": model.name,
        "strategy": model.strategy,
        "synthetic": model.synthetic,
        "source": source,
        "thresholds": model.rule.thresholds[source],
        "calibration": model.rule.to_json()["calibration"][source],
        "records": [asdict(prediction) for prediction in predictions],
    }
    return json.dumps(content, indent=1)


def source_in_words(source: str) -> str:
    """Whose thresholds they are."""
    return "of all sources" if source == POOLED_SOURCE else f"of {source}"


def _probability(p: float | None) -> str:
    return "-" if p is None else number(p)


def _predicted(segment: SegmentPrediction) -> str:
    return ",".join(segment.predicted) or "-"
