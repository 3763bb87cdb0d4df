"""Single heartbeats in a table of text: one a line, or one as a column of samples.

Data sets of heartbeats are published in this way: a line of numbers for each beat, often with its
class behind it, and neither a header nor a sampling rate.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.exports.csv_tables.csv_recording import (
    ONE_BEAT,
    UNITS,
    WIDE,
    check_span,
    read_csv,
)
from fl.datasets.readers.exports.csv_tables.headings import UNIT_WORDS
from fl.datasets.readers.exports.csv_tables.text_table import SEPARATORS, TextTable, read_table
from fl.ecg.beat_cuts import CUT_FS, CUT_SAMPLES
from fl.ecg.records import LEADS, MILLIVOLTS, NO_UNIT, CutBeats, Record, lead_name
from fl.util.errors import ConfigError

FIRST_BYTES = 65536  # of a file, in which its first line of numbers is looked for
LARGEST = 1e6  # of a sample, in whatever unit
MOST_CLASSES = 10  # whole numbers below it in the last column are taken for classes
NUMBERS = frozenset("0123456789eE+-.,;\t \"'")  # characters of a line of numbers
KACHUEE = (
    f"lines of {CUT_SAMPLES} values from 0 to 1 are taken for heartbeats of lead II at "
    f"{CUT_FS:g} Hz, as Kachuee et al. 2018 (arXiv:1805.00794) cut them"
)


def has_wide_lines(path: Path) -> bool:
    """Whether the first line is of more numbers than a line with one sample of each lead."""
    try:
        with path.open("rb") as file:
            text = file.read(FIRST_BYTES).decode("latin-1")
    except OSError:
        return False  # whoever reads it will report that
    lines = text.removeprefix("\xef\xbb\xbf").splitlines()
    if lines and lines[0].lower().startswith("sep="):
        lines.pop(0)
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return set(first) <= NUMBERS and max(first.count(one) for one in SEPARATORS) >= WIDE


def read_beats(path: Path, fs: float | None, unit: str, leads: Sequence[str]) -> Record | None:
    """The heartbeats in a table with wide lines, one after the other in the signal.

    None if its lines are longer than a heartbeat. `fs` (Hz) and the lead are needed unless the
    lines are as Kachuee et al. 2018 cut them: 187 values from 0 to 1. Zeros at the end of a line
    are padding. Raises DataError or ConfigError that names the line.
    """
    table = _without_numbered_heading(read_table(path, UNIT_WORDS))
    values, notes = _without_classes(table.values)
    known = values.shape[1] == CUT_SAMPLES and _between_0_and_1(values)
    if fs is None and not known:
        raise ConfigError(
            f"{path}: has lines of {values.shape[1]} numbers and no sampling rate. Give --fs, in "
            "Hz."
        )
    rate = CUT_FS if fs is None else fs
    if values.shape[1] / rate >= ONE_BEAT:
        return None
    lead = _lead(path, leads, known)
    if known and (fs is None or not leads):
        notes = (KACHUEE, *notes)
    present = np.isfinite(values) & (values != 0)
    width = values.shape[1]
    starts = width * np.arange(len(values), dtype=np.int64)
    lengths = width - present[:, ::-1].argmax(axis=1)
    samples = _samples(values * (1.0 if known else UNITS[unit or MILLIVOLTS]))
    if not known and unit != NO_UNIT:
        check_span(path, [samples[present]], unit or MILLIVOLTS)
    return Record(
        source="",
        name=path.stem,
        patient=path.stem,
        signal=np.where(np.isfinite(samples), samples, 0).reshape(1, -1),
        leads=(lead,),
        fs=rate,
        labels=None,
        unit=NO_UNIT if known or unit == NO_UNIT else MILLIVOLTS,
        notes=notes,
        cut_beats=CutBeats(
            starts=starts,
            ends=starts + np.where(present.any(axis=1), lengths, 0),
            missing=np.asarray(~np.isfinite(samples).all(axis=1)),
            lines=tuple(table.lines[-len(values) :]),
        ),
    )


def read_one_beat(path: Path, fs: float | None, unit: str, leads: Sequence[str]) -> Record:
    """The one heartbeat of a table that lasts no longer: a column of samples for each lead."""
    found = read_csv(path, fs, unit, leads, shortest=0.0)
    values = _samples(np.stack(list(found.signals.values())))
    present = np.flatnonzero((np.isfinite(values) & (values != 0)).any(axis=0))
    end = int(present[-1]) + 1 if len(present) else 0
    relative = unit == NO_UNIT or _between_0_and_1(values)
    return Record(
        source="",
        name=path.stem,
        patient=path.stem,
        signal=np.where(np.isfinite(values), values, 0),
        leads=tuple(found.signals),
        fs=found.fs,
        labels=None,
        unit=NO_UNIT if relative else MILLIVOLTS,
        cut_beats=CutBeats(
            starts=np.zeros(1, dtype=np.int64),
            ends=np.array([end], dtype=np.int64),
            missing=np.array([not np.isfinite(values).all()]),
            lines=(),
        ),
    )


def _without_numbered_heading(table: TextTable) -> TextTable:
    """The table without a first line 0, 1, 2, ..., which numbers the columns."""
    numbers = np.arange(table.values.shape[1])
    if len(table.values) < 2 or not (table.values[0] == numbers).all():
        return table
    return TextTable(
        header=table.header,
        below_header=table.below_header,
        values=table.values[1:],
        cells=table.cells[1:],
        lines=table.lines[1:],
    )


def _without_classes(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Lines (beat, sample) without the class behind each, and a note where there is one."""
    last = values[:, -1]
    if values.shape[1] != CUT_SAMPLES + 1 or not np.isin(last, range(MOST_CLASSES)).all():
        return values, ()
    return values[:, :-1], ("the last number of each line is taken for a class, and is not read",)


def _samples(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """As 32-bit numbers; what no recorder gives counts as missing."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan).astype(np.float32)


def _between_0_and_1(values: NDArray[np.floating[Any]]) -> bool:
    present = values[np.isfinite(values)]
    return bool(len(present)) and bool(((present >= 0) & (present <= 1)).all())


def _lead(path: Path, leads: Sequence[str], known: bool) -> str:
    """The lead of all beats; `ConfigError` unless it is named, or known by the kind of table."""
    if not leads and known:
        return "II"
    if len(leads) != 1:
        found = "names none" if not leads else f"names {len(leads)}"
        raise ConfigError(
            f"{path}: each line is a heartbeat of one lead, but --leads {found}. Name it, such as "
            "--leads II."
        )
    name = lead_name(leads[0])
    if name is None:
        raise ConfigError(f"--leads has {leads[0][:20]!r}. Known: {', '.join(LEADS)}.")
    return name
