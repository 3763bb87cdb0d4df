"""What the examples of a source are called: records, 10 s windows of long records, or beats.

A window or a beat is not a person, so a count of examples names its unit and its patients.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fl.ecg.tasks import TASKS
from fl.runs.run_facts import SourceFacts

RECORDS, WINDOWS, BEATS, EXAMPLES = "records", "10 s windows", "beats", "examples"

UnitAt = Callable[[str], str]  # of a site, `central`, `unseen` or a source


def units(task: str, data: Sequence[SourceFacts]) -> dict[str, str]:
    """The unit of each source, from run.json's facts of the sources."""
    if TASKS[task].exclusive:
        return {entry.source: BEATS for entry in data}
    return {
        entry.source: WINDOWS if entry.examples > entry.recordings else RECORDS for entry in data
    }


def unit_of(task: str, sources: Iterable[str], by_source: Mapping[str, str]) -> str:
    """The unit of a group that comes from these sources: `records and 10 s windows`."""
    if TASKS[task].exclusive:
        return BEATS
    found = {by_source.get(source, EXAMPLES) for source in sources}
    return " and ".join(sorted(found, reverse=True)) or EXAMPLES


def units_at(task: str, data: Sequence[SourceFacts], sites: Sequence[Mapping[str, Any]]) -> UnitAt:
    """The unit at each site, on central and unseen records, and of each source."""
    by_source = units(task, data)
    sources = {row["site"]: row.get("sources", ()) for row in sites}
    return lambda where: unit_of(task, sources.get(where, (where,)), by_source)


def units_in(task: str, facts: Mapping[str, Any]) -> UnitAt:
    """The same from the content of run.json."""
    data = [SourceFacts.model_validate(entry) for entry in facts.get("data", ())]
    return units_at(task, data, facts.get("sites", ()))


def no_unit(where: str) -> str:
    """Where the sources are not known."""
    return EXAMPLES


def counted(n: int, unit: str, patients: int | None) -> str:
    """`171 10 s windows of 8 patients`"""
    if patients is None:
        return f"{n} {unit}"
    return f"{n} {unit} of {patients} patient{'' if patients == 1 else 's'}"
