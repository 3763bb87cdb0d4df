"""The tables that `check` prints of single records: what was found, leads, classes and codes."""

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from fl.datasets.data_report.source_report import SourceReport
from fl.ecg.labels import is_snomed
from fl.ecg.records import LEADS
from fl.util.errors import REASONS

MOST_FINDINGS = 5  # of one verdict, with most records first; every verdict is shown
MOST_ROWS = 20  # of one source in one table; --json has all
_RECORD = "<record>"  # stands for the record's own name in what was found


def unusable(sources: Sequence[SourceReport]) -> Table:
    """The unusable records, together where the same was found in them."""
    table = _table("Unusable records", "Source", "Verdict", "Found", "Records", "Which")
    for s in sources:
        for verdict, names in sorted(s.unusable.items()):
            words = f"{verdict}: {REASONS[verdict]}"
            found = _by_detail(names, s.details)
            shown = dict(list(found.items())[:MOST_FINDINGS])
            if others := [name for same in list(found.values())[MOST_FINDINGS:] for name in same]:
                shown[f"{len(found) - MOST_FINDINGS} other findings: see --json"] = others
            for text, same in shown.items():
                cells = escape(text), str(len(same)), escape(first_names(same))
                table.add_row(s.name, words, *cells)
    return table


def _by_detail(names: Iterable[str], details: Mapping[str, str]) -> dict[str, list[str]]:
    """What was found -> the records, with most records first."""
    found: dict[str, list[str]] = {}
    for name in names:
        # The record's own files, with or without their folder; its name alone may be a word.
        short = name.rpartition("/")[2]
        own = rf"(?<![\w.-])(?:{re.escape(name)}|{re.escape(short)})(?=\.[a-zA-Z])"
        text = re.sub(own, _RECORD, details.get(name, ""))
        if any(map(str.isdigit, short)) and any(map(str.isalpha, short)):
            text = re.sub(rf"(?<![\w.-]){re.escape(short)}(?![\w-])", _RECORD, text)
        found.setdefault(text, []).append(name)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def missing_leads(sources: Sequence[SourceReport]) -> Table:
    """Which records lack a lead."""
    table = _table("Usable records without a lead", "Source", "Lead", "Records", "Which")
    for s in sources:
        together: dict[tuple[str, ...], list[str]] = {}  # records -> the leads that they all lack
        for lead in LEADS:
            if names := s.missing_leads.get(lead):
                together.setdefault(tuple(names), []).append(lead)
        for records, leads in together.items():
            table.add_row(s.name, " ".join(leads), str(len(records)), escape(first_names(records)))
    return table


def classes(sources: Sequence[SourceReport]) -> Table:
    """In how many records each rhythm class is present, absent or not known."""
    title = "Usable records by rhythm class"
    table = _table(title, "Source", "Class", "Present", "Absent", "Not known")
    for s in sources:
        for name, counts in s.classes.items():
            numbers = (counts[answer] for answer in ("yes", "no", "unknown"))
            table.add_row(s.name, name, *map(str, numbers))
    return table


def other_codes(sources: Sequence[SourceReport]) -> Table:
    """Diagnosis codes of usable records that stand for none of the classes."""
    title = "Diagnosis codes of none of the classes; their records are used"
    table = _table(title, "Source", "Code", "Records", "Which")
    for s in sources:
        rows = []
        for code, names in sorted(s.other_codes.items(), key=lambda item: -len(item[1])):
            damaged = (
                "" if is_snomed(code) else " is no SNOMED CT code: classes not named are unknown"
            )
            rows.append((escape(code) + damaged, str(len(names)), escape(first_names(names))))
        _add_rows(table, s.name, rows, "codes")
    return table


def table_notes(sources: Sequence[SourceReport]) -> Table:
    """What was assumed to read a source, and what of its tables is not used."""
    table = _table("How tables were read", "Source", "Note")
    for s in sources:
        for note in s.table_notes:
            table.add_row(s.name, escape(note))
    return table


def record_notes(sources: Sequence[SourceReport]) -> Table:
    """Usable records whose files leave something open, and how they were read."""
    title = "Usable records of which something was left open or wrong, and how it was read"
    table = _table(title, "Source", "Note", "Records", "Which")
    for s in sources:
        for note, names in sorted(s.record_notes.items()):
            table.add_row(s.name, escape(note), str(len(names)), escape(first_names(names)))
    return table


def unfollowed_links(sources: Sequence[SourceReport]) -> Table:
    """Links to folders that were not entered."""
    title = "Links that are not followed: their folder is read anyway, or is not there"
    table = _table(title, "Source", "Links", "Which")
    for s in sources:
        if names := s.unfollowed_links:
            table.add_row(s.name, str(len(names)), escape(first_names(names)))
    return table


def unread_files(sources: Sequence[SourceReport]) -> Table:
    """Files that belong to no record, by what they are."""
    table = _table("Files that belong to no record", "Source", "Kind", "Files", "Which")
    for s in sources:
        for kind, names in sorted(s.unread_files.items()):
            table.add_row(s.name, kind, str(len(names)), escape(first_names(names)))
    return table


def first_names(names: Sequence[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return " ".join(names[:most]) + more


def _table(title: str, source: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(source, no_wrap=True)
    for column in columns:
        table.add_column(column)
    return table


def _add_rows(table: Table, source: str, rows: Sequence[tuple[str, ...]], of_what: str) -> None:
    """The first rows of a source, and a line that counts the others."""
    for row in rows[:MOST_ROWS]:
        table.add_row(source, *row)
    if len(rows) > MOST_ROWS:
        table.add_row(source, f"{len(rows) - MOST_ROWS} more {of_what}: see --json")
