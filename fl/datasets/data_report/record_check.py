"""Reads every record once and reports which are usable, which are not, and why."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from rich.table import Table

from fl.datasets.base import Card, Source
from fl.datasets.data_report.beat_counts import BeatTally
from fl.datasets.data_report.source_report import SourceReport
from fl.datasets.data_report.tables import tables
from fl.datasets.duplicates import SeenSignals, fingerprints
from fl.datasets.own_folder import OwnFolder
from fl.datasets.physionet.checksums import altered_files
from fl.datasets.readers.beat_records import BeatRecords
from fl.datasets.readers.wfdb_signals import Waveform
from fl.datasets.record_discovery import unfollowed_links
from fl.ecg.acceptability import assess_recording
from fl.ecg.beat_pictures import left_out
from fl.ecg.labels import RHYTHM_CLASSES, shows_none
from fl.ecg.records import Examples, Record
from fl.ecg.tasks import Task
from fl.util.errors import DataError, UnusableRecord

# Verdicts on a record of which a copy may have a label.
WITHOUT_LABEL = (
    *("no-label", "label-conflict", "no-annotation"),
    *("no-infarction-label", "doubtful-infarction"),
)
Progress = Callable[[str, int, int], None]  # source, records done, records in all


@runtime_checkable
class HasWaveform(Protocol):
    """A source that can read the signal of a record without using its labels."""

    def waveform(self, root: Path, name: str) -> Waveform: ...


@runtime_checkable
class NamesPatients(Protocol):
    """A source in which records may name the patient or not."""

    def lacks_patient(self, record: Record) -> bool: ...


@runtime_checkable
class InOwnFolder(Protocol):
    """A source in a folder of its owner, which says how it was read and what is not."""

    def table_notes(self, root: Path) -> list[str]: ...

    def unread_files(self, root: Path) -> dict[str, list[str]]: ...


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What all data sets in one folder contain."""

    folder: str
    sources: tuple[SourceReport, ...]
    problems: dict[str, str] = field(default_factory=dict)  # source that cannot be read -> why

    def to_json(self) -> str:
        """The whole report as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    def tables(self) -> list[Table]:
        """The tables to print: an overview, and those of the others that have rows."""
        return tables(self.folder, self.sources)


@dataclass(frozen=True, kw_only=True)
class KnownSignals:
    """The signals seen so far: of usable records, and of all records."""

    usable: SeenSignals = field(default_factory=SeenSignals)
    all: SeenSignals = field(default_factory=SeenSignals)


def check(
    sources: Sequence[Source],
    root: Path,
    progress: Progress | None = None,
    task: Task | None = None,
) -> CheckReport:
    """Read all records of the sources; one that cannot be read or has no records is a problem.

    With a task, a record from which it makes no example is unusable too, as in training.
    """
    known = KnownSignals()
    reports: list[SourceReport] = []
    problems: dict[str, str] = {}
    for source in sources:
        try:
            reports.append(_check_source(source, root, known, progress, task))
        except DataError as error:
            problems[source.card.name] = str(error)
        except OSError as error:
            place = error.filename or root
            problems[source.card.name] = (
                f"{place}: cannot be read ({error.strerror}). Give yourself the right to read it."
            )
    return CheckReport(folder=str(root), sources=tuple(reports), problems=problems)


def _check_source(
    source: Source, root: Path, known: KnownSignals, progress: Progress | None, task: Task | None
) -> SourceReport:
    card, names = source.card, source.record_names(root)
    report = SourceReport(
        name=card.name,
        title=card.title,
        licence=card.licence,
        records=len(names),
        lead_two=card.lead_two,
        altered=altered_files(_folder(source, root)),
        unfollowed_links=unfollowed_links(_folder(source, root)),
    )
    patients, beats = set(), BeatTally()
    for done, name in enumerate(names, start=1):
        try:
            record = source.read(root, name)
            examples = None if task is None else task.make_examples(record)
            _refuse_copy(report, name, known, record)
        except UnusableRecord as verdict:
            report.unusable.setdefault(verdict.reason, []).append(name)
            report.details[name] = verdict.detail
            if verdict.reason in WITHOUT_LABEL:
                _note_unlabelled_copy(source, root, name, known, report)
        else:
            patients.add(record.patient)
            report.without_example += examples.without_example if examples else 0
            _count(report, record, card)
            beats.add(record)
            if task is not None and examples is not None and task.whole_beats:
                _count_whole_beats(report, record, task, examples)
            if isinstance(source, NamesPatients) and source.lacks_patient(record):
                report.without_patient.append(name)
        if progress is not None:
            progress(card.name, done, len(names))
    if isinstance(source, InOwnFolder):
        report.table_notes = source.table_notes(root)
        report.unread_files = source.unread_files(root)
    report.patients = len(patients)
    report.beats, report.codes_without_class = beats.sets, dict(beats.codes_without_class)
    return report


def _count_whole_beats(
    report: SourceReport, record: Record, task: Task, examples: Examples
) -> None:
    """Add the examples of each class, and the beats that get none."""
    found = dict(zip(task.classes, examples.labels.sum(axis=0).tolist(), strict=True))
    without = left_out(record.annotations) if record.annotations is not None else {}
    for counts, more in ((report.whole_beats, found), (report.whole_beats_left_out, without)):
        for name, n in more.items():
            counts[name] = counts.get(name, 0) + n


def _folder(source: Source, root: Path) -> Path:
    """The folder in which the records of a data set, and their published sums, are."""
    if isinstance(source, OwnFolder):
        return Path(source.path)
    return source.folder(root) if isinstance(source, BeatRecords) else root / source.card.name


def _refuse_copy(report: SourceReport, name: str, known: KnownSignals, record: Record) -> None:
    """`UnusableRecord` for a copy of a usable record; a copy of another record is only noted."""
    prints = fingerprints(record.leads, record.signal)
    _note_copy(report, name, known, prints)
    first = known.usable.first_match(f"{report.name}/{name}", prints)
    if first:
        raise UnusableRecord(name, "duplicate", f"the signal of {first}")


def _note_copy(
    report: SourceReport, name: str, known: KnownSignals, prints: tuple[str, ...]
) -> None:
    first = known.all.first_match(f"{report.name}/{name}", prints)
    if first:
        report.duplicates[name] = first


def _note_unlabelled_copy(
    source: Source, root: Path, name: str, known: KnownSignals, report: SourceReport
) -> None:
    """Note the signal of a record without a label, of which a copy may have a label."""
    if not isinstance(source, HasWaveform):
        return
    try:
        wave = source.waveform(root, name)
    except UnusableRecord:
        return  # the record already has its verdict
    _note_copy(report, name, known, fingerprints(wave.leads, wave.signal))


_ANSWERS = {1: "yes", 0: "no"}


def _count(report: SourceReport, record: Record, card: Card) -> None:
    """Add a usable record to the report."""
    report.usable += 1
    for note in record.notes:
        report.record_notes.setdefault(note, []).append(record.name)
    verdict = assess_recording(record.signal, record.leads, record.fs)
    if verdict.reason:
        report.cannot_say.setdefault(verdict.reason, []).append(record.name)
    for lead in card.leads:
        if lead not in record.leads:
            report.missing_leads.setdefault(lead, []).append(record.name)
    if record.labels is not None:
        report.none_of_the_classes += int(shows_none(record.labels[None])[0])
        for c, value in zip(RHYTHM_CLASSES, record.labels, strict=True):
            counts = report.classes.setdefault(c, {"yes": 0, "no": 0, "unknown": 0})
            counts[_ANSWERS.get(int(value), "unknown")] += 1
    for code in dict.fromkeys(record.other_codes):
        report.other_codes.setdefault(code, []).append(record.name)
    if card.infarction:
        answer = _ANSWERS.get(record.infarction, "unknown")
        report.infarctions[answer] = report.infarctions.get(answer, 0) + 1
