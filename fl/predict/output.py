"""Findings as lines for people, as CSV and as JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from fl.predict.inference import Finding, Reading
from fl.predict.saved_model import Model
from fl.reports.number_format import number


def as_text(model: Model, readings: Sequence[Reading]) -> str:
    """A line per recording, window or beat: where, what is said, every probability."""
    classes = model.task.classes
    width = max((len(reading.record) for reading in readings), default=6)
    said = max((len(_said(f)) for r in readings for f in r.findings), default=4)
    said = max(said, 4)
    head = f"{'record':{width}}  {'samples':>17}  {'said':{said}}  "
    lines = [head + " ".join(f"{c:>5}" for c in classes)]
    for reading in readings:
        for found in reading.findings:
            place = f"{found.start}-{found.end}"
            p = " ".join(f"{number(found.p[c]):>5}" for c in classes)
            lines.append(f"{reading.record:{width}}  {place:>17}  {_said(found):{said}}  {p}")
    return "\n".join(lines)


def as_csv(model: Model, readings: Sequence[Reading]) -> str:
    """The same as a table; `peak` is empty but for beats."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    classes = model.task.classes
    writer.writerow(["record", "start", "end", "peak", "said", *(f"p_{c}" for c in classes)])
    for reading in readings:
        for found in reading.findings:
            peak = "" if found.peak is None else found.peak
            p = [f"{found.p[c]:.7f}" for c in classes]
            said = "|".join(found.said)
            writer.writerow([reading.record, found.start, found.end, peak, said, *p])
    return out.getvalue().rstrip("\n")


def as_json(model: Model, readings: Sequence[Reading], source: str) -> str:
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


def _said(found: Finding) -> str:
    return ",".join(found.said) or "-"
