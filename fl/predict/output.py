"""Findings as lines for people, as CSV and as JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from fl.predict.inference import RecordingPrediction, SegmentPrediction
from fl.predict.saved_model import SavedModel
from fl.reports.number_format import number


def as_text(model: SavedModel, readings: Sequence[RecordingPrediction]) -> str:
    """A line per recording, window or beat: where, what is said, every probability."""
    classes = model.task.classes
    width = max((len(reading.record) for reading in readings), default=6)
    wide = max([9, *(len(_predicted(f)) for r in readings for f in r.findings)])
    head = f"{'record':{width}}  {'samples':>17}  {'predicted':{wide}}  "
    lines = [head + " ".join(f"{c:>5}" for c in classes)]
    for reading in readings:
        for found in reading.findings:
            place = f"{found.start}-{found.end}"
            p = " ".join(f"{number(found.p[c]):>5}" for c in classes)
            lines.append(f"{reading.record:{width}}  {place:>17}  {_predicted(found):{wide}}  {p}")
    return "\n".join(lines)


def as_csv(model: SavedModel, readings: Sequence[RecordingPrediction]) -> str:
    """The same as a table; `peak` is empty but for beats."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    classes = model.task.classes
    writer.writerow(["record", "start", "end", "peak", "predicted", *(f"p_{c}" for c in classes)])
    for reading in readings:
        for found in reading.findings:
            peak = "" if found.peak is None else found.peak
            p = [f"{found.p[c]:.7f}" for c in classes]
            predicted = "|".join(found.predicted)
            writer.writerow([reading.record, found.start, found.end, peak, predicted, *p])
    return out.getvalue().rstrip("\n")


def as_json(model: SavedModel, readings: Sequence[RecordingPrediction], source: str) -> str:
    """Everything, with the model's own facts and the thresholds that decided."""
    content = {
        "task": model.task.name,
        "model": model.name,
        "strategy": model.strategy,
        "synthetic": model.synthetic,
        "thresholds": model.thresholds_of(source),
        "records": [asdict(reading) for reading in readings],
    }
    return json.dumps(content, indent=1)


def _predicted(found: SegmentPrediction) -> str:
    return ",".join(found.predicted) or "-"
