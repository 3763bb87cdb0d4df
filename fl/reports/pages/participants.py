"""Who took part: records and patients from what was found to each test, and a run's Table 1."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fl.reports.figures.most_wrong import recording_of
from fl.reports.run_files import CENTRAL, UNSEEN, Run
from fl.util.errors import REASONS

DUPLICATE = "duplicate"
OTHER_FOLDS = "and trains or validates in the others"
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class FlowStep:
    """One box of the flow diagram, and the box beside it: who leaves at this step."""

    title: str
    lines: tuple[str, ...] = ()
    aside_title: str = ""
    aside: tuple[str, ...] = ()
    branch: bool = False  # one of several parts of the last step that is none


def flow(run: Run) -> list[FlowStep]:
    """From the records found to the groups they were used in; empty if none is known here."""
    if not run.facts.data or not run.partition:
        return []
    return [_found(run), _readable(run), _used(run), *_groups(run)]


def _found(run: Run) -> FlowStep:
    counts = {e.source: e.recordings + sum(map(len, e.excluded.values())) for e in run.facts.data}
    aside = [
        f"{entry.source}: {len(names)}, {REASONS.get(verdict, verdict)}"
        for entry in run.facts.data
        for verdict, names in sorted(entry.excluded.items())
        if verdict != DUPLICATE
    ]
    return FlowStep(
        f"Records found: {sum(counts.values())}",
        tuple(f"{source}: {n}" for source, n in counts.items()),
        f"Left out: {_left_out(run, duplicates=False)}",
        tuple(aside),
    )


def _readable(run: Run) -> FlowStep:
    copies = {e.source: len(e.excluded.get(DUPLICATE, ())) for e in run.facts.data}
    used = sum(entry.recordings for entry in run.facts.data)
    return FlowStep(
        f"Usable records: {used + sum(copies.values())}",
        (),
        f"Duplicates left out: {sum(copies.values())}",
        tuple(f"{s}: {n}, {REASONS[DUPLICATE]}" for s, n in copies.items() if n),
    )


def _left_out(run: Run, duplicates: bool) -> int:
    return sum(
        len(names)
        for entry in run.facts.data
        for verdict, names in entry.excluded.items()
        if (verdict == DUPLICATE) == duplicates
    )


def _used(run: Run) -> FlowStep:
    lines = [f"{e.source}: {_count(e.recordings, e.patients)}" for e in run.facts.data]
    total = sum(e.recordings for e in run.facts.data), sum(e.patients for e in run.facts.data)
    return FlowStep(f"Used: {_count(*total)}", tuple(lines))


def _groups(run: Run) -> Iterable[FlowStep]:
    sites = [row for row in run.partition if row["site"] not in (CENTRAL, UNSEEN)]
    lines = [
        f"{name}: {_people([row for row in sites if row['split'] == split])}"
        for split, name in SPLITS.items()
    ]
    if run.folds:
        lines = [f"each patient is tested once, in one of {run.folds} folds", OTHER_FOLDS]
    yield FlowStep(f"{len(run.dealt)} hospitals: {_people(sites)}", tuple(lines), branch=True)
    for name, title in ((CENTRAL, "Central test"), (UNSEEN, "Unseen test")):
        rows = [row for row in run.partition if row["site"] == name]
        if rows:
            yield FlowStep(f"{title}: {_people(rows)}", tuple(_by_source(rows)), branch=True)


def _by_source(rows: Sequence[Mapping[str, str]]) -> Iterable[str]:
    for source in sorted({row["source"] for row in rows}):
        yield f"{source}: {_people([row for row in rows if row['source'] == source])}"


def _people(rows: Sequence[Mapping[str, str]]) -> str:
    records = {(row["source"], recording_of(row["record"])) for row in rows}
    return _count(len(records), patients_of(rows))


def patients_of(rows: Iterable[Mapping[str, str]]) -> int:
    """How many patients some lines of partition.csv are of."""
    return len({row["patient"] for row in rows})


def _count(records: int, patients: int) -> str:
    return f"{_plural(records, 'record')} of {_plural(patients, 'patient')}"


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def table_one(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The groups whose Table 1 is known: rows of run.json's sites that have one."""
    return [row for row in rows if row.get("table_one")]
