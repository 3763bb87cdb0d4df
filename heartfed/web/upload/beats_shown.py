"""The beats of a part of a recording: marks for the sheet, rows for the table, links to others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.records import CutBeats, Record
from fl.predict.beat_words import beat_measures
from fl.predict.prediction import SegmentPrediction
from fl.reports.number_format import number
from heartfed.web.upload.answering import AnsweredUpload, ModelAnswer, peaks_of
from heartfed.web.upload.part import Part, inside
from heartfed.web.upload.sheet import BeatMark, page_seconds


def part_of_finding(upload: AnsweredUpload, model: int, finding: int) -> int:
    """The number of the part in which a finding begins."""
    assert upload.record is not None
    answer = upload.answers[model].prediction
    assert answer is not None
    found = answer.findings[finding]
    at = found.start if found.peak is None else found.peak
    return int(at / upload.record.fs // page_seconds(len(upload.record.leads)))


def marking(upload: AnsweredUpload, asked: int | None) -> int | None:
    """The model whose beats are marked: the one asked for, else the first that answers beats."""
    able = [
        i for i, a in enumerate(upload.answers) if a.is_of_beats and a.prediction and has_beats(a)
    ]
    if asked in able:
        return asked
    return able[0] if able else None


def has_beats(answer: ModelAnswer) -> bool:
    return bool(answer.prediction and answer.prediction.findings)


def _peaks(upload: AnsweredUpload, marked: int | None) -> NDArray[np.int64]:
    """R peaks of a model, or those found in the first lead where no model answers beats."""
    if marked is not None:
        return peaks_of(upload.answers[marked])
    if upload.record is None:
        return np.zeros(0, dtype=np.int64)
    return upload.found_peaks


def words_of(upload: AnsweredUpload, marked: int | None, part: Part) -> dict[int, str]:
    """What is seen of each beat of the part, by its R peak."""
    assert upload.record is not None
    if upload.record.cut_beats is not None:
        return _words_of_cuts(upload.record, upload.record.cut_beats, part)
    words: dict[int, str] = {}
    sets = {tuple(inside(_peaks(upload, marked), part)): _peaks(upload, marked)}
    for i, answer in enumerate(upload.answers):
        if answer.is_of_beats and has_beats(answer):
            peaks = _peaks(upload, i)
            sets.setdefault(tuple(inside(peaks, part)), peaks)
    for chosen, peaks in sets.items():
        measures = beat_measures(upload.record, peaks, chosen)
        for beat, found in zip(chosen, measures, strict=True):
            words[int(peaks[beat])] = found.in_words
    return words


def _words_of_cuts(record: Record, beats: CutBeats, part: Part) -> dict[int, str]:
    """How wide the QRS complex of each single beat of the part is, by its first sample.

    A beat that begins at its R peak does not show that.
    """
    words = {}
    for beat in inside(beats.starts, part):
        start, end = int(beats.starts[beat]), int(beats.ends[beat])
        signal = record.signal[:, start:end]
        alone = replace(record, signal=signal, cut_beats=None)
        qrs = None
        if signal.shape[1]:
            peak = np.abs(signal[0] - np.median(signal[0])).argmax(keepdims=True)
            qrs = beat_measures(alone, peak, [0])[0].qrs
        words[start] = "" if qrs is None else f"QRS about {1000 * qrs:.0f} ms wide"
    return words


def place_of(record: Record, beat: int, peak: int) -> str:
    """Where a beat is: `3.60 s`, or `line 3` of a table of single beats."""
    if record.cut_beats is None or not record.cut_beats.lines:
        return f"{peak / record.fs:.2f} s"
    return f"line {record.cut_beats.lines[beat]}"


def marks_of(
    upload: AnsweredUpload,
    marked: int | None,
    part: Part,
    words: Mapping[int, str],
) -> list[BeatMark]:
    """The beats of a part, to be marked on the sheet."""
    record = upload.record
    assert record is not None
    peaks = _peaks(upload, marked)
    marks = []
    for beat in inside(peaks, part):
        peak = int(peaks[beat])
        if marked is None:
            start, end = _around(record, beat, peak)
            mark = BeatMark(
                number=beat,
                start=start,
                end=end,
                peak=peak,
                label="",
                words=f"{place_of(record, beat, peak)}: {words[peak] or 'no class'}",
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
                words=f"{place_of(record, beat, peak)}: {beat_in_words(finding)}. {words[peak]}",
            )
        marks.append(mark)
    return marks


def _around(record: Record, beat: int, peak: int) -> tuple[int, int]:
    """The samples to be marked of a beat that no model answered."""
    if record.cut_beats is not None:
        return peak, max(int(record.cut_beats.ends[beat]), peak + 1)
    around = round(0.1 * record.fs)
    return max(0, peak - around), min(peak + around, record.signal.shape[1])


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
    p: str  # of its class; of single beats that of every class
    answered: bool


@dataclass(frozen=True, kw_only=True)
class BeatRow:
    """A beat in the table: its time, what each model answered, and what is seen of it."""

    place: str  # its time in s, or `line 3` of a table of single beats
    peak: int
    cells: tuple[BeatCell | None, ...]  # (beat model,)
    words: str


def beat_rows(upload: AnsweredUpload, part: Part, words: Mapping[int, str]) -> list[BeatRow]:
    assert upload.record is not None
    columns = [
        i for i, a in enumerate(upload.answers) if a.is_of_beats and a.prediction and has_beats(a)
    ]
    cells: dict[int, dict[int, BeatCell]] = {}
    numbers: dict[int, int] = {}
    for column in columns:
        prediction = upload.answers[column].prediction
        assert prediction is not None
        for beat in inside(peaks_of(upload.answers[column]), part):
            finding = prediction.findings[beat]
            assert finding.peak is not None
            cells.setdefault(finding.peak, {})[column] = _beat_cell(
                column, beat, finding, every_class=upload.record.cut_beats is not None
            )
            numbers[finding.peak] = beat
    return [
        BeatRow(
            place=place_of(upload.record, numbers[peak], peak).removesuffix(" s"),
            peak=peak,
            cells=tuple(found.get(column) for column in columns),
            words=words.get(peak, ""),
        )
        for peak, found in sorted(cells.items())
    ]


def _beat_cell(
    model: int, number_of: int, finding: SegmentPrediction, every_class: bool
) -> BeatCell:
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
        p="" if p is None else _every_class(finding) if every_class else number(p),
        answered=not finding.cannot_say and p is not None,
    )


def _every_class(finding: SegmentPrediction) -> str:
    """`N .970, S .020, V .010`; a class that is not answered is left out."""
    return ", ".join(f"{name} {number(p)}" for name, p in finding.p.items() if p is not None)


def ectopic(upload: AnsweredUpload, marked: int | None, part: Part) -> list[dict[str, Any]]:
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
