"""The tables that `check` prints."""

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from fl.datasets.data_report import detail_tables
from fl.datasets.data_report.detail_tables import first_names
from fl.datasets.data_report.source_report import SourceReport
from fl.datasets.readers.wfdb_access import symbol_meanings
from fl.ecg.acceptability import SENTENCES
from fl.ecg.labels import BEAT_CLASSES
from fl.ecg.records import LEADS


def tables(folder: str, sources: Sequence[SourceReport]) -> list[Table]:
    """An overview, and those of the other tables that have rows."""
    found = [_overview(folder, sources), detail_tables.table_notes(sources)]
    found += [detail_tables.unusable(sources), _cannot_say(sources)]
    found += [detail_tables.record_notes(sources), detail_tables.unfollowed_links(sources)]
    found += [detail_tables.unread_files(sources)]
    found += [_altered(sources), _copies(sources), _without_patient(sources)]
    found += [detail_tables.missing_leads(sources), detail_tables.classes(sources)]
    found += [detail_tables.other_codes(sources)]
    found += [_infarctions(sources), _beats(sources), _whole_beats(sources)]
    found += [_codes_without_class(sources)]
    return [table for table in found if table.row_count]


def _overview(folder: str, sources: Sequence[SourceReport]) -> Table:
    table = Table(title=f"Recordings under {folder}", title_justify="left")
    table.add_column("Source", no_wrap=True)
    for column in ("Records", "Usable", "No class", "Patients", "Unusable", "Copies"):
        table.add_column(column, justify="right")
    table.add_column("Records without a lead")
    for s in sources:
        missing = ((lead, s.missing_leads.get(lead)) for lead in LEADS)
        leads = ", ".join(f"{lead}: {len(names)}" for lead, names in missing if names)
        unusable = sum(map(len, s.unusable.values()))
        none = s.none_of_the_classes
        numbers = (s.records, s.usable, none, s.patients, unusable, len(s.duplicates))
        table.add_row(s.name, *map(str, numbers), leads or "-")
    return table


def _cannot_say(sources: Sequence[SourceReport]) -> Table:
    title = "Usable records that `predict` answers with `cannot say`; training keeps them"
    table = Table(title=title, title_justify="left")
    table.add_column("Source", no_wrap=True)
    for name in ("Reason", "Records", "Which"):
        table.add_column(name)
    for s in sources:
        for reason, names in sorted(s.cannot_say.items()):
            words = f"{reason}: {SENTENCES[reason]}"
            table.add_row(s.name, words, str(len(names)), first_names(names))
    return table


def _altered(sources: Sequence[SourceReport]) -> Table:
    table = Table("Source", "File", title="Files that differ from the published ones")
    for s in sources:
        for file in s.altered:
            table.add_row(s.name, file)
    return table


def _copies(sources: Sequence[SourceReport]) -> Table:
    title = "Records with the same signal"
    table = Table("Record", "Same signal as", title=title, title_justify="left")
    for s in sources:
        for name, first in s.duplicates.items():
            table.add_row(f"{s.name}/{name}", first)
    return table


def _without_patient(sources: Sequence[SourceReport]) -> Table:
    title = "Records that do not name their patient; each counts as a patient of its own"
    table = Table("Source", "Records", "Which", title=title, title_justify="left")
    for s in sources:
        if s.without_patient:
            table.add_row(s.name, str(len(s.without_patient)), first_names(s.without_patient))
    return table


def _infarctions(sources: Sequence[SourceReport]) -> Table:
    title = "Usable records by infarction, of the sources that say so"
    table = Table("Source", title=title, title_justify="left")
    for column in ("Infarction", "None", "Not known", "Beats found without an example"):
        table.add_column(column, justify="right")
    for s in sources:
        if s.infarctions:
            numbers = (s.infarctions.get(answer, 0) for answer in ("yes", "no", "unknown"))
            table.add_row(s.name, *map(str, numbers), str(s.without_example))
    return table


def _beats(sources: Sequence[SourceReport]) -> Table:
    title = "Beats by AAMI class, and below each number the patients who have any"
    table = Table("Source", "Set", title=title, title_justify="left")
    for c in (*BEAT_CLASSES, "all"):
        table.add_column(c, justify="right", no_wrap=True)
    for s in sources:
        for name, counts in sorted(s.beats.items()):
            cells = (f"{beats:,}\n{patients:,}" for beats, patients in counts.rows().values())
            table.add_row(f"{s.name}\nII: {s.lead_two}", name, *cells)
    return table


def _whole_beats(sources: Sequence[SourceReport]) -> Table:
    title = "Whole beats of --task beat7 by class, and beats of other codes or without a neighbour"
    table = Table("Source", "Beats", title=title, title_justify="left")
    table.add_column("Left out")
    for s in sources:
        if s.whole_beats:
            cells = (s.whole_beats, dict(sorted(s.whole_beats_left_out.items())))
            table.add_row(s.name, *(escape(_each(counts)) for counts in cells))
    return table


def _each(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {n:,}" for name, n in counts.items()) or "-"


def _codes_without_class(sources: Sequence[SourceReport]) -> Table:
    title = "Annotations that are no beats of a class, by code; the beat tasks do not use them"
    table = Table("Source", "Code", "Meaning", title=title, title_justify="left")
    table.add_column("Annotations", justify="right")
    for s in sources:
        meanings = symbol_meanings() if s.codes_without_class else {}
        for code, n in sorted(s.codes_without_class.items(), key=lambda item: (-item[1], item[0])):
            table.add_row(s.name, escape(code), meanings[code], f"{n:,}")
    return table
