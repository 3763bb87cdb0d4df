"""A recording in a table with one column per lead and one line per sample."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.exports.csv_tables.headings import (
    UNIT_WORDS,
    VOLTAGES,
    Heading,
    parse_heading,
)
from fl.datasets.readers.exports.csv_tables.text_table import TextTable, read_table
from fl.datasets.readers.exports.csv_tables.time_axis import rate_of
from fl.datasets.readers.exports.formats.recording import Recording
from fl.datasets.readers.wfdb_signals import MIN_SECONDS
from fl.ecg.records import LEADS, MILLIVOLTS, NO_UNIT, lead_name
from fl.util.errors import ConfigError, DataError, UnusableRecord

TABLES = (".csv", ".tsv", ".txt")  # suffixes of files that are taken for tables
UNITS = {MILLIVOLTS: 1.0, "uV": 1e-3, "V": 1e3, NO_UNIT: 1.0}  # of --unit
USUAL_SPAN = 0.05, 20.0  # mV from a lead's 1st to its 99th percentile, median of all leads
ONE_BEAT = 2.0  # s: shorter ones are single beats, as data sets of cut beats have them
WIDE = 24  # columns: a single line with more is the samples of one lead, one after the other
Columns = dict[str, tuple[int, float]]  # place and mV of one unit, by lead


def read_csv(
    path: Path,
    fs: float | None,
    unit: str,
    leads: Sequence[str] = (),
    shortest: float = MIN_SECONDS,
) -> Recording:
    """The recording in a table of text.

    `fs` (Hz) is needed if no column of times gives it; `unit` is a name of UNITS, or "" for what
    the headings say, else mV; `leads` name the columns of a table without a header. Raises
    DataError, ConfigError or `UnusableRecord` with the line, the value and what is accepted;
    a recording below `shortest` (s) is refused.
    """
    table = _upright(read_table(path, UNIT_WORDS))
    headings = _headings(path, table, leads)
    rate = _rate(path, table, headings, fs)
    signals = {
        lead: table.values[:, place] * scale
        for lead, (place, scale) in _columns(path, headings, unit).items()
    }
    _check_length(path, table.values.shape[0] / rate, shortest)
    if unit != NO_UNIT:
        check_span(path, list(signals.values()), unit or MILLIVOLTS)
    return Recording(
        name=path.stem,
        signals=signals,
        steps=dict.fromkeys(signals, 0.0),
        fs=rate,
        derived=(),
        unknown=(),
        notes=(),
    )


def _upright(table: TextTable) -> TextTable:
    """The table; a single line of many numbers, as data sets of cut beats have it, as a column."""
    if table.header or len(table.lines) > 1 or table.values.shape[1] <= WIDE:
        return table
    return replace(
        table,
        values=table.values.T,
        cells=[[cell] for cell in table.cells[0]],
        lines=table.lines * table.values.shape[1],
    )


def _headings(path: Path, table: TextTable, leads: Sequence[str]) -> list[Heading]:
    """What each column is, by the header, or by `leads` if there is none."""
    columns = table.values.shape[1]
    if table.header:
        below = table.below_header or ("",) * columns
        if len(below) != columns:
            raise DataError(f"{path}: its line of units has {len(below)} cells, not {columns}.")
        return [parse_heading(*pair) for pair in zip(table.header, below, strict=True)]
    if not leads:
        raise ConfigError(
            f"{path}: has no header of lead names, and leads are never taken from their order. Add "
            "a first line such as I,II,V1 or name them: --leads I,II,V1."
        )
    unknown = [lead for lead in leads if lead_name(lead) is None]
    if unknown:
        raise ConfigError(f"--leads has {unknown[0][:20]!r}. Known: {', '.join(LEADS)}.")
    if columns not in (len(leads), len(leads) + 1):
        raise ConfigError(
            f"{path}: has {columns} columns, but --leads names {len(leads)}. Name each, but not a "
            "column of times before them."
        )
    times = [Heading(text="", time=True)] * (columns - len(leads))
    return [*times, *(Heading(text=lead, lead=lead_name(lead)) for lead in leads)]


def _rate(path: Path, table: TextTable, headings: list[Heading], fs: float | None) -> float:
    """The sampling rate, by --fs or by a column of times; they must agree."""
    found = fs
    for place, heading in enumerate(headings):
        if heading.time or heading.number:
            found = rate_of(path, table, place, heading, found) or found
    if found is None:
        raise ConfigError(
            f"{path}: a CSV file does not contain its sampling rate if no column has the time. "
            "Give --fs, in Hz."
        )
    return found


def _columns(path: Path, headings: list[Heading], unit: str) -> Columns:
    """Column of each lead and mV of one unit in it, in the order of LEADS."""
    columns: Columns = {}
    for place, heading in enumerate(headings):
        if heading.time or heading.number:
            continue
        if heading.lead is None:
            text = heading.text
            name = repr(text[:20]) if text.isprintable() else "a name that is not text"
            raise UnusableRecord(path.name, "lead-names", f"{name}; known: {', '.join(LEADS)}")
        if heading.lead in columns:
            raise UnusableRecord(path.name, "lead-names", f"lead {heading.lead} is named twice")
        columns[heading.lead] = place, _scale(path, heading, unit)
    if not columns:
        raise UnusableRecord(
            path.name, "lead-names", f"no column of a lead; known: {', '.join(LEADS)}"
        )
    return {lead: columns[lead] for lead in LEADS if lead in columns}


def _scale(path: Path, heading: Heading, unit: str) -> float:
    """The mV of one unit in a column; 1 if the unit is not to be known."""
    if not heading.unit or unit == NO_UNIT:
        return UNITS[unit or MILLIVOLTS]
    shown = repr(heading.text[:20])
    if heading.unit not in VOLTAGES:
        raise DataError(
            f"{path}: the column {shown} has the unit {heading.unit[:12]!r}. Accepted: mV, uV, V, "
            "nV. If the unit is not known: --unit NU."
        )
    scale = VOLTAGES[heading.unit]
    if unit and UNITS[unit] != scale:
        raise DataError(
            f"{path}: the column {shown} has the unit {heading.unit}, but --unit is {unit}. "
            "Correct one of them."
        )
    return scale


def _check_length(path: Path, seconds: float, shortest: float) -> None:
    """`UnusableRecord` for a recording from which nothing can be answered."""
    if seconds >= shortest:
        return
    detail = f"{seconds:.1f} s; at least {MIN_SECONDS:g} s"
    if seconds >= ONE_BEAT:
        raise UnusableRecord(path.name, "too-short", detail)
    detail += ". Give the recording around it"
    raise UnusableRecord(path.name, "single-beat", detail)


def check_span(path: Path, signals: Iterable[NDArray[np.floating[Any]]], unit: str) -> None:
    """`DataError` if the values are too small or too large for an ECG in the stated unit."""
    span, (smallest, largest) = _span(signals), USUAL_SPAN
    if span is not None and not smallest <= span <= largest:
        raise DataError(
            f"{path}: its leads span {span:.3g} mV if its values are in {unit}; {smallest:g} to "
            f"{largest:g} mV is usual. Give the unit: --unit {' or '.join(UNITS)}."
        )


def _span(signals: Iterable[NDArray[np.floating[Any]]]) -> float | None:
    """mV from the 1st to the 99th percentile of a lead, median of those that are not flat."""
    spans = []
    for samples in signals:
        present = samples[np.isfinite(samples)]
        if len(present) and present.min() < present.max():
            low, high = np.percentile(present, [1, 99])
            spans.append(high - low)
    return float(np.median(spans)) if spans else None
