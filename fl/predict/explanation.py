"""Explains what a model answered of a recording: which findings, which class, and the figures."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl.ecg.records import Record
from fl.ecg.tasks import TASKS
from fl.evaluation.decisions.platt_scaling import log_odds
from fl.explain.placing import placed
from fl.explain.saliency import (
    IN_WORDS,
    Explanation,
    explain,
    feature_sentence,
    has_usual_beat,
)
from fl.predict.inference import Prepared
from fl.predict.prediction import RecordingPrediction, SegmentPrediction
from fl.predict.saved_model import SavedModel
from fl.reports.figures import saliency as figures
from fl.reports.number_format import number
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError

SECONDS = 10.0  # of a recording that a figure shows
FEATURES = 5  # that a caption names
NOTICE = "Research software, not a medical device: no result may guide the care of a patient."


@dataclass(frozen=True, kw_only=True)
class ExplainedAnswer:
    """One answer of a model, and where it looked."""

    record: str  # its name, as it was given
    task: str
    model: str
    strategy: str
    synthetic: bool  # the model was trained on synthetic recordings
    start: float  # s of the recording: the example's first sample
    end: float
    peak: int | None  # sample of the R peak; None for rhythm
    p: float  # calibrated probability of the class
    threshold: float | None  # None: the class is never predicted, or only where no other is
    predicted: bool
    explanation: Explanation

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `explanation.signal` is (lead, sample), from `begins` on."""
        return vars(self) | {"explanation": self.explanation.to_json()}

    @property
    def caption(self) -> list[str]:
        """What a figure of it says, sentence by sentence."""
        found, beat = self.explanation, self.peak is not None
        example = "this beat" if beat else f"{self.start:.1f} to {self.end:.1f} s"
        limit = "none" if self.threshold is None else number(self.threshold)
        verdict = "predicted" if self.predicted else "not predicted"
        lines = [
            f"{found.target} in {example}: probability {number(self.p)}, threshold {limit}, "
            f"{verdict}. Model: {self.model}, {self.strategy}, {self.task} task"
            f"{', trained on SYNTHETIC recordings' if self.synthetic else ''}."
        ]
        if not found.leads:
            lines.append("The network reads no signal, only the beat's features.")
        elif found.method == "attention":
            lines.append(
                f"Where the model looked, by {IN_WORDS['attention']}: the more opaque, the larger."
            )
        else:
            usual = "a signal without waves"
            if has_usual_beat(TASKS[self.task]):
                usual = "the patient's usual beat"
            lines.append(
                f"Where the model looked, by {IN_WORDS[found.method]} against {usual}: amber "
                f"speaks for {found.target}, blue against it, the more opaque the more."
            )
        if found.features and found.method != "attention":
            largest = "; ".join(
                feature_sentence(f, found.target) for f in found.features[:FEATURES]
            )
            lines.append(f"Largest features: {largest}.")
        if found.method == "gradients" and not found.complete:
            lines.append(
                f"The contributions sum to {found.difference - found.error:.2f} and should sum to "
                f"{found.difference:.2f}: the network changes too abruptly for this method."
            )
        lines.append(NOTICE)
        return lines


def explain_findings(
    model: SavedModel,
    record: Record,
    prepared: Prepared,
    prediction: RecordingPrediction,
    chosen: Sequence[tuple[int, str]],
    method: str,
    source: str,
) -> list[ExplainedAnswer]:
    """Explains the chosen findings, each (its number, a class)."""
    return [_explained(model, record, prepared, prediction, *one, method, source) for one in chosen]


def _explained(
    model: SavedModel,
    record: Record,
    prepared: Prepared,
    prediction: RecordingPrediction,
    place: int,
    target: str,
    method: str,
    source: str,
) -> ExplainedAnswer:
    finding = prediction.findings[place]
    p = finding.p[target]
    assert p is not None  # see `choose`
    begin, end, peak = finding.start / prediction.fs, finding.end / prediction.fs, None
    # Findings have the first and the last beat too, which have no example.
    example = place - 1 if prepared.without_example else place
    found = explain(model.network, prepared.cohort, example, target, method)
    if finding.peak is not None:
        peak, end = finding.peak / prediction.fs, (finding.end - 1) / prediction.fs
    return ExplainedAnswer(
        record=prediction.record,
        task=model.task.name,
        model=model.name,
        strategy=model.strategy,
        synthetic=model.synthetic,
        start=begin,
        end=end,
        peak=finding.peak,
        p=p,
        threshold=model.rule.thresholds[source].get(target),
        predicted=target in finding.predicted,
        explanation=placed(found, model.task, record, begin, end, peak),
    )


def choose(
    model: SavedModel,
    prediction: RecordingPrediction,
    places: Sequence[int],
    target: str,
    source: str,
) -> list[tuple[int, str]]:
    """Which of the findings to explain, and for which class: (number of the finding, class).

    With a `target`, the finding in which its probability is highest. Without, that of each
    predicted class (of beats: but the class where no other is predicted, if there are others); if
    no class is predicted, the one that comes closest to its threshold. Raises ConfigError if the
    target is not answered. Findings without an answer are passed over; there may be none left.
    """
    answered = [i for i in places if not prediction.findings[i].cannot_say]
    if not answered:
        return []
    if target:
        if target in prediction.not_answered:
            raise ConfigError(
                f"--class is {target!r}, which is not answered from lead "
                f"{', '.join(prediction.leads)} alone. Name another class."
            )
        return [(_highest(prediction.findings, answered, target), target)]
    predicted = [
        c for c in model.task.classes if any(c in _predicted(prediction, i) for i in answered)
    ]
    others = [c for c in predicted if c != model.task.otherwise]
    found = []
    for name in others or predicted:
        showing = [i for i in answered if name in _predicted(prediction, i)]
        found.append((_highest(prediction.findings, showing, name), name))
    if found:
        return found
    limits = model.rule.thresholds[source]
    margins = {
        (i, c): float(np.subtract(*log_odds(np.array([p, limits[c]]))))
        for i in answered
        for c, p in prediction.findings[i].p.items()
        if p is not None and c in limits
    }
    return [max(margins, key=lambda key: margins[key])]


def _predicted(prediction: RecordingPrediction, place: int) -> tuple[str, ...]:
    return prediction.findings[place].predicted


def _highest(findings: Sequence[SegmentPrediction], places: Sequence[int], target: str) -> int:
    """The place with the highest probability of a class, the first of equal ones."""
    return max(places, key=lambda i: (findings[i].p[target] or 0.0, -i))


def write_answer(
    answer: ExplainedAnswer, record: Record, folder: Path, flag: str, *, unit: str = "mV"
) -> list[Path]:
    """Write the figure as SVG and PNG and everything as JSON into a folder; their paths.

    `ConfigError` names the flag that gave the folder, if it cannot be made or written to.
    """
    start, seconds = part_shown(answer, record)
    figure = figures.draw(
        record,
        answer.explanation,
        start,
        seconds,
        [*answer.caption, f"Shown: {start:.2f} to {start + seconds:.2f} s of {record.name}."],
        beat=None if answer.peak is None else answer.peak / record.fs,
        unit=unit,
    )
    stem = folder / file_stem(answer, record)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = figures.save(figure, stem)
        path = stem.with_name(f"{stem.name}.json")
        write_atomically(path, json.dumps(answer.to_json(), indent=1).encode())
    except OSError as error:
        raise ConfigError(
            f"{flag} {folder}: cannot be written to ({error.strerror}). Name a folder you may "
            "write to."
        ) from None
    return [*written, path]


def part_shown(answer: ExplainedAnswer, record: Record) -> tuple[float, float]:
    """Start and length (s) of what a figure shows: ten seconds, those that mattered most."""
    duration = record.signal.shape[1] / record.fs
    seconds = min(SECONDS, duration)
    if answer.peak is not None:
        start = answer.peak / record.fs - seconds / 2
    elif answer.explanation.signal.size and answer.end - answer.start > seconds:
        start = answer.start + heaviest(answer.explanation, seconds)
    else:
        start = answer.start
    return max(0.0, min(start, duration - seconds)), seconds


def heaviest(explanation: Explanation, seconds: float) -> float:
    """Start (s of the example) of the stretch with the largest contributions, in half seconds."""
    size = abs(explanation.signal).sum(axis=0)
    window, step = round(seconds * explanation.fs), round(0.5 * explanation.fs)
    starts = range(0, max(len(size) - window, 0) + 1, step)
    return max(starts, key=lambda at: (size[at : at + window].sum(), -at)) / explanation.fs


def file_stem(answer: ExplainedAnswer, record: Record) -> str:
    """`A0001-PVC-gradients`, with a window's start or a beat's sample before the class."""
    where = f"-beat{answer.peak}" if answer.peak is not None else ""
    if not where and answer.end - answer.start < record.signal.shape[1] / record.fs - 1e-6:
        where = f"-{answer.start:g}s"
    name = re.sub(r"[^\w.+-]", "_", record.name)
    target = answer.explanation.target.replace("/", "paced")  # a class that no file can be named by
    return f"{name}{where}-{target}-{answer.explanation.method}"
