"""What the page of an answer shows of it: a part of the recording, and all that was said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.acceptability import SENTENCES
from fl.ecg.beat_cuts import CUT_FS, find_r_peaks
from fl.ecg.filters import bandpass, resample
from fl.ecg.records import Record
from fl.predict.beat_words import beat_measures
from fl.predict.explanation import ExplainedAnswer
from fl.predict.holter_summary import clock
from fl.predict.holter_tables import summary_lines
from fl.predict.prediction import SegmentPrediction
from fl.reports.number_format import number
from heartfed.web.upload.answering import AnsweredUpload, ModelAnswer, peaks_of
from heartfed.web.upload.sheet import BeatMark, Sheet, draw, page_seconds

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
    part = _part(record, asked.part)
    marked = marking(upload, asked)
    words = _words(upload, marked, part)
    return shared | {
        "sheet": _sheet(upload, marked, part, words, explained),
        "part": part,
        "marked": marked,
        "beats": _beat_rows(upload, part, words),
        "ectopic": _ectopic(upload, marked, part),
        "summaries": _summaries(upload, record),
    }


@dataclass(frozen=True, kw_only=True)
class Part:
    """The stretch of a recording that a page shows."""

    number: int  # from 0
    count: int
    start: float  # s
    end: float
    first: int  # samples
    last: int

    @property
    def times(self) -> str:
        """In words: `0:00:00 to 0:00:30`."""
        return f"{clock(self.start)} to {clock(self.end)}"


def _part(record: Record, number: int) -> Part:
    duration, seconds = record.signal.shape[1] / record.fs, page_seconds(len(record.leads))
    # A rest of less than a sample would be a page without anything.
    count = max(1, int(np.ceil((duration - 1e-6) / seconds)))
    number = min(number, count - 1)
    start, end = number * seconds, min(duration, (number + 1) * seconds)
    return Part(
        number=number,
        count=count,
        start=start,
        end=end,
        first=round(start * record.fs),
        last=round(end * record.fs),
    )


def part_of_finding(upload: AnsweredUpload, model: int, finding: int) -> int:
    """The number of the part in which a finding begins."""
    assert upload.record is not None
    answer = upload.answers[model].prediction
    assert answer is not None
    found = answer.findings[finding]
    at = found.start if found.peak is None else found.peak
    return int(at / upload.record.fs // page_seconds(len(upload.record.leads)))


def marking(upload: AnsweredUpload, asked: Asked) -> int | None:
    """The model whose beats are marked: the one asked for, else the first that answers beats."""
    able = [
        i for i, a in enumerate(upload.answers) if a.is_of_beats and a.prediction and _has_beats(a)
    ]
    if asked.model in able:
        return asked.model
    return able[0] if able else None


def _has_beats(answer: ModelAnswer) -> bool:
    return bool(answer.prediction and answer.prediction.findings)


def _peaks(upload: AnsweredUpload, marked: int | None) -> NDArray[np.int64]:
    """R peaks of a model, or those found in the first lead where no model answers beats."""
    if marked is not None:
        return peaks_of(upload.answers[marked])
    if upload.record is None:
        return np.zeros(0, dtype=np.int64)
    if upload.cannot_say:  # a single heartbeat: its largest deflection
        lead = upload.record.signal[0]
        return np.array([np.abs(lead - np.median(lead)).argmax()], dtype=np.int64)
    return _found_peaks(upload)


def _found_peaks(upload: AnsweredUpload) -> NDArray[np.int64]:
    kept: NDArray[np.int64] | None = upload.__dict__.get("found_peaks")
    if kept is None:
        record = upload.record
        assert record is not None
        lead = record.leads.index("II") if "II" in record.leads else 0
        signal = resample(record.signal[[lead]], record.fs, CUT_FS)
        found = find_r_peaks(np.asarray(bandpass(signal, CUT_FS)[0]))
        kept = np.rint(found * (record.fs / CUT_FS)).astype(np.int64)
        upload.__dict__["found_peaks"] = kept
    return kept


def _words(upload: AnsweredUpload, marked: int | None, part: Part) -> dict[int, str]:
    """What is seen of each beat of the part, by its R peak."""
    assert upload.record is not None
    words: dict[int, str] = {}
    sets = {tuple(_inside(_peaks(upload, marked), part)): _peaks(upload, marked)}
    for i, answer in enumerate(upload.answers):
        if answer.is_of_beats and _has_beats(answer):
            peaks = _peaks(upload, i)
            sets.setdefault(tuple(_inside(peaks, part)), peaks)
    for chosen, peaks in sets.items():
        measures = beat_measures(upload.record, peaks, chosen)
        for beat, found in zip(chosen, measures, strict=True):
            words[int(peaks[beat])] = found.in_words
    return words


def _inside(peaks: NDArray[np.int64], part: Part) -> list[int]:
    return np.flatnonzero((peaks >= part.first) & (peaks < part.last)).tolist()


def _sheet(
    upload: AnsweredUpload,
    marked: int | None,
    part: Part,
    words: Mapping[int, str],
    explained: ExplainedAnswer | None,
) -> Sheet:
    record = upload.record
    assert record is not None
    peaks = _peaks(upload, marked)
    marks = []
    for beat in _inside(peaks, part):
        peak = int(peaks[beat])
        if marked is None:
            around = round(0.1 * record.fs)
            mark = BeatMark(
                number=beat,
                start=max(0, peak - around),
                end=min(peak + around, record.signal.shape[1]),
                peak=peak,
                label="",
                words=f"{peak / record.fs:.2f} s: {words[peak]}",
            )
        else:
            prediction = upload.answers[marked].prediction
            assert prediction is not None
            finding = prediction.findings[beat]
            mark = BeatMark(
                number=beat,
                start=finding.start,
                end=finding.end,
                peak=peak,
                label="".join(finding.predicted) or "?",
                words=f"{peak / record.fs:.2f} s: {beat_in_words(finding)}. {words[peak]}",
            )
        marks.append(mark)
    return draw(record, part.start, marks, explained.explanation if explained else None)


def beat_in_words(finding: SegmentPrediction) -> str:
    """`V, probability 0.97, samples 175 to 235`."""
    if finding.cannot_say:
        return f"cannot say: {finding.cannot_say}"
    name = "".join(finding.predicted) or "no class"
    p = finding.p.get(name)
    probability = "" if p is None else f", probability {number(p)}"
    return f"{name}{probability}, samples {finding.start} to {finding.end}"


@dataclass(frozen=True, kw_only=True)
class BeatCell:
    """One model's answer to one beat."""

    model: int
    finding: int
    label: str
    text: str  # `V, samples 175 to 235`
    p: str
    answered: bool


@dataclass(frozen=True, kw_only=True)
class BeatRow:
    """A beat in the table: its time, what each model answered, and what is seen of it."""

    time: str
    peak: int
    cells: tuple[BeatCell | None, ...]  # (beat model,)
    words: str


def _beat_rows(upload: AnsweredUpload, part: Part, words: Mapping[int, str]) -> list[BeatRow]:
    assert upload.record is not None
    columns = [
        i for i, a in enumerate(upload.answers) if a.is_of_beats and a.prediction and _has_beats(a)
    ]
    cells: dict[int, dict[int, BeatCell]] = {}
    for column in columns:
        prediction = upload.answers[column].prediction
        assert prediction is not None
        for beat in _inside(peaks_of(upload.answers[column]), part):
            finding = prediction.findings[beat]
            assert finding.peak is not None
            cells.setdefault(finding.peak, {})[column] = _beat_cell(column, beat, finding)
    return [
        BeatRow(
            time=f"{peak / upload.record.fs:.2f}",
            peak=peak,
            cells=tuple(found.get(column) for column in columns),
            words=words.get(peak, ""),
        )
        for peak, found in sorted(cells.items())
    ]


def _beat_cell(model: int, number_of: int, finding: SegmentPrediction) -> BeatCell:
    label = "".join(finding.predicted) or "no class"
    p = finding.p.get(label)
    if finding.cannot_say:
        text = f"cannot say: {finding.cannot_say}"
    else:
        text = f"{label}, samples {finding.start} to {finding.end}"
    return BeatCell(
        model=model,
        finding=number_of,
        label=label,
        text=text,
        p="" if p is None else number(p),
        answered=not finding.cannot_say and p is not None,
    )


def _ectopic(upload: AnsweredUpload, marked: int | None, part: Part) -> list[dict[str, Any]]:
    """For each class but the usual one: how many, and the next and previous outside this part."""
    if marked is None:
        return []
    answer = upload.answers[marked]
    assert answer.prediction is not None
    findings = answer.prediction.findings
    rows = []
    for name in answer.served.model.task.classes:
        places = [i for i, f in enumerate(findings) if name in f.predicted]
        if not places:
            continue
        peaks = np.array([findings[i].peak for i in places], dtype=np.int64)
        before = [p for p, at in zip(places, peaks, strict=True) if at < part.first]
        after = [p for p, at in zip(places, peaks, strict=True) if at >= part.last]
        rows.append(
            {
                "name": name,
                "count": len(places),
                "usual": name == answer.served.model.task.otherwise,
                "previous": part_of_finding(upload, marked, before[-1]) + 1 if before else None,
                "next": part_of_finding(upload, marked, after[0]) + 1 if after else None,
            }
        )
    return rows


def _card(
    place: int, answer: ModelAnswer, asked: Asked, upload: AnsweredUpload, source: str
) -> dict[str, Any]:
    """One model's answer, for its card."""
    model = answer.served.model
    found = answer.prediction
    windows: list[dict[str, Any]] = []
    if found is not None and not answer.is_of_beats and upload.record is not None:
        part = _part(upload.record, asked.part)
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
