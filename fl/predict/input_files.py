"""Recordings without labels, from WFDB files or from a table with one column per lead.

A CSV file has a header of lead names (I, II, III, aVR, aVL, aVF, V1 to V6, or an alias such as
MLII), one line per sample and values in mV unless `--unit` says otherwise. An empty cell is a
missing sample. The file does not contain its sampling rate, so `--fs` must give it.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.beat_annotations import beat_annotations
from fl.datasets.readers.wfdb_signals import read_waveform
from fl.ecg.quality import fill_gaps, lack_of_signal
from fl.ecg.records import LEADS, MILLIVOLTS, NO_UNIT, Record, lead_name
from fl.util.errors import ConfigError, DataError, UnusableRecord

UNITS = {MILLIVOLTS: 1.0, "uV": 1e-3, NO_UNIT: 1.0}
USUAL_SPAN = 0.05, 20.0  # mV from a lead's 1st to its 99th percentile, median of all leads
WFDB_PARTS = (".dat", ".mat", ".atr")  # files of a WFDB record beside its header


def read_record(text: str, fs: float | None, unit: str) -> Record:
    """The recording named on the command line.

    `fs` (Hz) is the sampling rate of a CSV file and `unit` a name of UNITS. Raises DataError or
    ConfigError with one line that says what is wrong.
    """
    path = Path(text)
    if path.suffix.lower() == ".csv":
        return read_csv(path, fs, unit)
    if path.suffix in WFDB_PARTS:
        raise DataError(
            f"{text}: is a part of a WFDB record. Name its header: {path.with_suffix('.hea')}"
        )
    return read_wfdb(path.with_suffix("") if path.suffix == ".hea" else path, unit)


def read_wfdb(stem: Path, unit: str, ignore_checksums: bool = False) -> Record:
    """A WFDB record, with the annotations of its .atr file if there is one."""
    wave = read_waveform(
        stem,
        name=stem.name,
        rates=(),
        unit=NO_UNIT if unit == NO_UNIT else MILLIVOLTS,
        ignore_checksums=ignore_checksums,
    )
    notes = stem.parent / f"{stem.name}.atr"
    return Record(
        source="",
        name=stem.name,
        patient=stem.name,
        signal=wave.signal,
        leads=wave.leads,
        fs=wave.fs,
        labels=None,
        annotations=beat_annotations(stem, stem.name, wave) if notes.is_file() else None,
        unit=NO_UNIT if unit == NO_UNIT else MILLIVOLTS,
    )


def read_csv(path: Path, fs: float | None, unit: str) -> Record:
    """The recording in a table with one column per lead and one line per sample."""
    if fs is None:
        raise ConfigError(
            f"{path}: a CSV file does not contain its sampling rate. Give --fs, in Hz."
        )
    names, values = _cells(path)
    columns = _leads(path, names)
    kept: dict[str, NDArray[np.float32]] = {}
    lacks = []
    for lead, column in columns.items():
        samples = (values[:, column] * UNITS[unit]).astype(np.float32)
        lack = lack_of_signal(samples, samples)
        if not lack:
            kept[lead] = fill_gaps(samples)
        else:
            lacks.append(f"{lead} {lack}")
    if not kept:
        raise UnusableRecord(path.name, "no-signal", ", ".join(lacks))
    signal = np.stack(list(kept.values()))
    if unit != NO_UNIT:
        _check_unit(path, signal, unit)
    return Record(
        source="",
        name=path.stem,
        patient=path.stem,
        signal=signal,
        leads=tuple(kept),
        fs=fs,
        labels=None,
        unit=NO_UNIT if unit == NO_UNIT else MILLIVOLTS,
    )


def _cells(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """The table's header and its values (sample, column), nan where a cell is empty."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            names = next(rows, [])
            values = [_numbers(path, rows.line_num, row, len(names)) for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 table"
        raise DataError(f"{path}: cannot be read ({reason}). Name a CSV file.") from None
    if not values:
        raise DataError(
            f"{path}: has no samples. Expected: a header of lead names, then one line per sample."
        )
    return names, np.array(values)


def _numbers(path: Path, line: int, row: list[str], columns: int) -> list[float]:
    if len(row) != columns:
        raise DataError(
            f"{path}: line {line} has {len(row)} values, but its header has {columns}. Complete "
            "the line; a missing sample is an empty cell."
        )
    try:
        return [float(cell) if cell.strip() else np.nan for cell in row]
    except ValueError:
        raise DataError(
            f"{path}: line {line} is not all numbers. Expected: values in mV, or empty cells."
        ) from None


def _leads(path: Path, names: list[str]) -> dict[str, int]:
    """Column of each lead, in the order of LEADS; `UnusableRecord` for a column of another name."""
    columns: dict[str, int] = {}
    for column, raw in enumerate(names):
        lead = lead_name(raw)
        if lead is None:
            name = repr(raw[:20]) if raw.isprintable() else "a name that is not text"
            raise UnusableRecord(path.name, "lead-names", f"{name}; known: {', '.join(LEADS)}")
        if lead in columns:
            raise UnusableRecord(path.name, "lead-names", f"lead {lead} is named twice")
        columns[lead] = column
    return {lead: columns[lead] for lead in LEADS if lead in columns}


def _check_unit(path: Path, signal: NDArray[np.float32], unit: str) -> None:
    """`DataError` if the values are too small or too large for an ECG in the stated unit."""
    low, high = np.percentile(signal, [1, 99], axis=1)
    span = float(np.median(high - low))
    smallest, largest = USUAL_SPAN
    if not smallest <= span <= largest:
        raise DataError(
            f"{path}: its leads span {span:.3g} mV if its values are in {unit}; {smallest:g} to "
            f"{largest:g} mV is usual. Give the unit: --unit {' or '.join(UNITS)}."
        )
