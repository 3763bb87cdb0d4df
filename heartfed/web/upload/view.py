"""What the page of an answer shows of it: a part of the recording, and all that was answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fl.ecg.acceptability import SENTENCES
from fl.ecg.records import Record
from fl.predict.explanation import ExplainedAnswer
from fl.predict.holter_tables import summary_lines
from fl.predict.prediction import SegmentPrediction
from fl.reports.number_format import number
from heartfed.web.upload.answering import AnsweredUpload, ModelAnswer
from heartfed.web.upload.beats_shown import beat_rows, ectopic, marking, marks_of, words_of
from heartfed.web.upload.part import part_of
from heartfed.web.upload.sheet import draw

SUMMARY_FROM = 60.0  # s: of a longer recording, the summary by the hour is shown


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a page is asked to show, from its address."""

    part: int = 0  # of the recording, from 0
    model: int | None = None  # whose beats are marked
    finding: int | None = None  # that is explained
    target: str = ""  # for which class

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        """Numbers that are none, or too large to be any, are passed over."""

        def whole(name: str) -> int | None:
            text = query.get(name, "")
            return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None

        return cls(
            part=max(0, (whole("part") or 1) - 1),
            model=whole("model"),
            finding=whole("finding"),
            target=query.get("class", ""),
        )


def content(
    upload: AnsweredUpload, asked: Asked, source: str, explained: ExplainedAnswer | None
) -> dict[str, Any]:
    """What the template needs besides the key of the answer."""
    record = upload.record
    shared = {
        "upload": upload,
        "asked": asked,
        "cards": [_card(i, a, asked, upload, source) for i, a in enumerate(upload.answers)],
        "explained": explained,
    }
    if record is None:
        return shared | {"sheet": None, "part": None, "beats": [], "summaries": [], "marked": None}
    part = part_of(record, asked.part)
    marked = marking(upload, asked.model)
    words = words_of(upload, marked, part)
    marks = marks_of(upload, marked, part, words)
    return shared | {
        "sheet": draw(record, part.start, marks, explained.explanation if explained else None),
        "part": part,
        "marked": marked,
        "beats": beat_rows(upload, part, words),
        "ectopic": ectopic(upload, marked, part),
        "summaries": _summaries(upload, record),
    }


def _card(
    place: int, answer: ModelAnswer, asked: Asked, upload: AnsweredUpload, source: str
) -> dict[str, Any]:
    """One model's answer, for its card."""
    model = answer.served.model
    found = answer.prediction
    windows: list[dict[str, Any]] = []
    if found is not None and not answer.is_of_beats and upload.record is not None:
        part = part_of(upload.record, asked.part)
        inside = [
            (i, f)
            for i, f in enumerate(found.findings)
            if f.start < part.last and f.end > part.first
        ]
        windows = [_window(model.task.classes, i, f, answer, source) for i, f in inside]
    return {
        "place": place,
        "answer": answer,
        "name": answer.served.name,
        "model": model,
        "cannot_say": answer.cannot_say,
        "windows": windows,
        "whole": found is not None and len(found.findings) == 1,
        "findings": len(found.findings) if found is not None else 0,
    }


def _window(
    classes: Sequence[str], place: int, finding: SegmentPrediction, answer: ModelAnswer, source: str
) -> dict[str, Any]:
    assert answer.prediction is not None
    limits = answer.served.model.rule.thresholds[source]
    fs = answer.prediction.fs
    return {
        "finding": place,
        "times": f"{finding.start / fs:.1f} to {finding.end / fs:.1f} s",
        "samples": f"{finding.start} to {finding.end}",
        "cannot_say": finding.cannot_say,
        "predicted": finding.predicted,
        "classes": [
            {
                "name": name,
                "p": None if finding.p[name] is None else number(finding.p[name]),
                "threshold": number(limits[name]) if name in limits else None,
                "predicted": name in finding.predicted,
            }
            for name in classes
        ],
        "leads": [
            {"lead": q.lead, "words": SENTENCES[q.reason] if q.reason else "heartbeats are seen"}
            for q in finding.lead_quality
        ],
    }


def _summaries(upload: AnsweredUpload, record: Record) -> list[dict[str, str]]:
    if record.signal.shape[1] / record.fs < SUMMARY_FROM:
        return []
    return [
        {
            "name": answer.served.name,
            "text": "\n".join(
                summary_lines(upload.name, answer.prediction.beats, answer.prediction.summary)
            ),
        }
        for answer in upload.answers
        if answer.prediction is not None and answer.prediction.summary is not None
    ]
