"""Reads every record once and reports which are usable, which are not, and why."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from rich.table import Table

from fl.datasets.base import Source
from fl.datasets.mitdb import DS1, DS2, PACED
from fl.datasets.physionet.checksums import altered_files
from fl.datasets.readers.wfdb_signals import Waveform
from fl.ecg.acceptability import SENTENCES, assess_recording
from fl.ecg.duplicates import SeenSignals, fingerprints
from fl.ecg.labels import AAMI, BEAT_CLASSES, RHYTHM_CLASSES, shows_none
from fl.ecg.records import LEADS, Record
from fl.ecg.tasks import Task
from fl.util.errors import REASONS, UnusableRecord

Progress = Callable[[str, int, int], None]  # source, records done, records in all


@runtime_checkable
class HasWaveform(Protocol):
    """A source that can read the signal of a record without using its labels."""

    def waveform(self, root: Path, name: str) -> Waveform: ...


@dataclass(kw_only=True)
class SourceReport:
    """What one data set contains. Lists have record ids, never patient fields."""

    name: str
    title: str
    licence: str
    records: int
    patients: int = 0  # of the usable records
    usable: int = 0
    none_of_the_classes: int = 0  # usable records known to show none of the classes annotated
    unusable: dict[str, list[str]] = field(default_factory=dict)  # verdict -> records
    details: dict[str, str] = field(default_factory=dict)  # record -> what was found
    cannot_say: dict[str, list[str]] = field(default_factory=dict)  # reason -> usable records
    missing_leads: dict[str, list[str]] = field(default_factory=dict)  # lead -> usable records
    duplicates: dict[str, str] = field(default_factory=dict)  # record -> first with this signal
    altered: list[str] = field(default_factory=list)  # files that differ from published sums
    classes: dict[str, dict[str, int]] = field(default_factory=dict)  # class -> yes, no, unknown
    beats: dict[str, dict[str, int]] = field(default_factory=dict)  # set -> AAMI class -> beats


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What all data sets in one folder contain."""

    folder: str
    sources: tuple[SourceReport, ...]

    def to_json(self) -> str:
        """The whole report as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    def tables(self) -> list[Table]:
        """The tables to print: an overview, and those of the others that have rows."""
        tables = [_overview(self), _unusable(self), _cannot_say(self)]
        tables += [_altered(self), _copies(self), _beats(self)]
        return [table for table in tables if table.row_count]


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
    """Read all records of the sources; `DataError` if one of the folders has none.

    With a task, a record from which it makes no example is unusable too, as in training.
    """
    known = KnownSignals()
    reports = [_check_source(source, root, known, progress, task) for source in sources]
    return CheckReport(folder=str(root), sources=tuple(reports))


def _check_source(
    source: Source, root: Path, known: KnownSignals, progress: Progress | None, task: Task | None
) -> SourceReport:
    card, names = source.card, source.record_names(root)
    report = SourceReport(
        name=card.name, title=card.title, licence=card.licence, records=len(names)
    )
    report.altered = altered_files(root / card.name)
    patients = set()
    for done, name in enumerate(names, start=1):
        try:
            record = source.read(root, name)
            if task is not None:
                task.make_examples(record)
            _refuse_copy(report, name, known, record)
        except UnusableRecord as verdict:
            report.unusable.setdefault(verdict.reason, []).append(name)
            report.details[name] = verdict.detail
            if verdict.reason in ("no-label", "label-conflict", "no-annotation"):
                _note_unlabelled_copy(source, root, name, known, report)
        else:
            patients.add(record.patient)
            _count(report, record, card.leads)
        if progress is not None:
            progress(card.name, done, len(names))
    report.patients = len(patients)
    return report


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


def _count(report: SourceReport, record: Record, leads: tuple[str, ...]) -> None:
    """Add a usable record to the report."""
    report.usable += 1
    verdict = assess_recording(record.signal, record.leads, record.fs)
    if verdict.reason:
        report.cannot_say.setdefault(verdict.reason, []).append(record.name)
    for lead in leads:
        if lead not in record.leads:
            report.missing_leads.setdefault(lead, []).append(record.name)
    if record.labels is not None:
        report.none_of_the_classes += int(shows_none(record.labels[None])[0])
        for c, value in zip(RHYTHM_CLASSES, record.labels, strict=True):
            counts = report.classes.setdefault(c, {"yes": 0, "no": 0, "unknown": 0})
            counts[{1: "yes", 0: "no"}.get(int(value), "unknown")] += 1
    if record.annotations is not None:
        for name in _beat_sets(record):
            counts = report.beats.setdefault(name, dict.fromkeys(BEAT_CLASSES, 0))
            for symbol in record.annotations.symbols:
                if symbol in AAMI:
                    counts[AAMI[symbol]] += 1


def _beat_sets(record: Record) -> list[str]:
    """The sets of the inter-patient protocol in which the record's beats are counted."""
    if record.source != "mitdb":
        return ["all"]
    if record.name in PACED:
        return ["paced"]
    return ["all non-paced", *(n for n, s in (("DS1", DS1), ("DS2", DS2)) if record.name in s)]


def _overview(report: CheckReport) -> Table:
    table = Table(title=f"Recordings under {report.folder}", title_justify="left")
    table.add_column("Source", no_wrap=True)
    for column in ("Records", "Usable", "No class", "Patients", "Unusable", "Copies"):
        table.add_column(column, justify="right")
    table.add_column("Records without a lead")
    for s in report.sources:
        missing = ((lead, s.missing_leads.get(lead)) for lead in LEADS)
        leads = ", ".join(f"{lead}: {len(names)}" for lead, names in missing if names)
        unusable = sum(map(len, s.unusable.values()))
        none = s.none_of_the_classes
        numbers = (s.records, s.usable, none, s.patients, unusable, len(s.duplicates))
        table.add_row(s.name, *map(str, numbers), leads or "-")
    return table


def _unusable(report: CheckReport) -> Table:
    by_source = {s.name: s.unusable for s in report.sources}
    return _by_reason("Unusable records", "Verdict", by_source, REASONS)


def _cannot_say(report: CheckReport) -> Table:
    title = "Usable records that `predict` answers with `cannot say`; training keeps them"
    return _by_reason(title, "Reason", {s.name: s.cannot_say for s in report.sources}, SENTENCES)


def _by_reason(
    title: str,
    column: str,
    by_source: Mapping[str, Mapping[str, list[str]]],
    sentences: Mapping[str, str],
) -> Table:
    """The records of each source and reason, with the reason in words."""
    table = Table(title=title, title_justify="left")
    table.add_column("Source", no_wrap=True)
    for name in (column, "Records", "Which"):
        table.add_column(name)
    for source, found in by_source.items():
        for reason, names in sorted(found.items()):
            words = f"{reason}: {sentences[reason]}"
            table.add_row(source, words, str(len(names)), _first_names(names))
    return table


def _altered(report: CheckReport) -> Table:
    table = Table("Source", "File", title="Files that differ from the published ones")
    for s in report.sources:
        for file in s.altered:
            table.add_row(s.name, file)
    return table


def _copies(report: CheckReport) -> Table:
    title = "Records with the same signal"
    table = Table("Record", "Same signal as", title=title, title_justify="left")
    for s in report.sources:
        for name, first in s.duplicates.items():
            table.add_row(f"{s.name}/{name}", first)
    return table


def _beats(report: CheckReport) -> Table:
    table = Table("Source", "Set", title="Beats by AAMI class", title_justify="left")
    for c in (*BEAT_CLASSES, "all"):
        table.add_column(c, justify="right")
    for s in report.sources:
        for name, counts in sorted(s.beats.items()):
            numbers = [*(counts[c] for c in BEAT_CLASSES), sum(counts.values())]
            table.add_row(s.name, name, *(f"{n:,}" for n in numbers))
    return table


def _first_names(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return " ".join(names[:most]) + more
