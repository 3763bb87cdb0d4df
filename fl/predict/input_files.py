"""Recordings without labels, from WFDB files or from a table with one column per lead.

A CSV file has a header of lead names (I, II, III, aVR, aVL, aVF, V1 to V6, or an alias such as
MLII), one line per sample and values in mV unless `--unit` says otherwise. An empty cell is a
missing sample. It does not state its sampling rate, so `--fs` must.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.datasets.mitdb import beat_annotations
from fl.datasets.readers.wfdb_signals import read_waveform
from fl.ecg.quality import fill_gaps, has_signal
from fl.ecg.records import LEADS, Record, lead_name
from fl.util.errors import ConfigError, DataError, UnusableRecord

UNITS = {"mV": 1.0, "uV": 1e-3, "NU": 1.0}
USUAL = 0.05, 20.0  # mV between a lead's 1st and 99th percentile, in the middle of all leads
PARTS = (".dat", ".mat", ".atr")  # of a WFDB record: its header is what is named


def read_record(text: str, fs: float | None, unit: str) -> Record:
    """A recording as named on the command line; `DataError` says in one line what is wrong."""
    path = Path(text)
    if path.suffix.lower() == ".csv":
        return read_csv(path, fs, unit)
    if path.suffix in PARTS:
        raise DataError(
            f"{text}: is a part of a WFDB record. Name its header: {path.with_suffix('.hea')}"
        )
    return read_wfdb(path.with_suffix("") if path.suffix == ".hea" else path, unit)


def read_wfdb(stem: Path, unit: str) -> Record:
    """A WFDB record; the beats of its .atr file with it, if there is one."""
    wave = read_waveform(stem, name=stem.name, rates=(), unit="NU" if unit == "NU" else "mV")
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
    )


def read_csv(path: Path, fs: float | None, unit: str) -> Record:
    """A table with one column per lead and one line per sample."""
    if fs is None:
        raise ConfigError(f"{path}: a CSV file does not state its sampling rate. Give --fs, in Hz.")
    names, values = _cells(path)
    columns = _leads(path, names)
    kept: dict[str, NDArray[np.float32]] = {}
    for lead, column in columns.items():
        samples = (values[:, column] * UNITS[unit]).astype(np.float32)
        if np.isfinite(samples).any() and has_signal(samples, samples):
            kept[lead] = fill_gaps(samples)
    if not kept:
        raise UnusableRecord(
            path.name, "no-signal", f"flat, clipped or missing: {', '.join(columns)}"
        )
    signal = np.stack(list(kept.values()))
    if unit != "NU":
        _check_unit(path, signal, unit)
    return Record(
        source="",
        name=path.stem,
        patient=path.stem,
        signal=signal,
        leads=tuple(kept),
        fs=fs,
        labels=None,
    )


def _cells(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Header and values of the table, nan where a cell is empty."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            names = next(rows, [])
            values = [_numbers(path, rows.line_num, row, len(names)) for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 table"
        raise DataError(f"{path}: cannot be read ({reason}). Name a CSV file.") from None
    if not values:
        raise DataError(f"{path}: has no samples. A header of lead names and one line per sample.")
    return names, np.array(values)


def _numbers(path: Path, line: int, row: list[str], wanted: int) -> list[float]:
    if len(row) != wanted:
        raise DataError(f"{path}: line {line} has {len(row)} values, its header {wanted}.")
    try:
        return [float(cell) if cell.strip() else np.nan for cell in row]
    except ValueError:
        raise DataError(f"{path}: line {line} is not all numbers. Values in mV.") from None


def _leads(path: Path, names: list[str]) -> dict[str, int]:
    """Column of each lead, in the order of LEADS; a column that is no lead is an error."""
    found: dict[str, int] = {}
    for column, raw in enumerate(names):
        lead = lead_name(raw)
        if lead is None:
            seen = raw[:20] if raw.isprintable() else "no text"
            raise UnusableRecord(path.name, "lead-names", f"{seen!r}; known: {', '.join(LEADS)}")
        if lead in found:
            raise UnusableRecord(path.name, "lead-names", f"lead {lead} is named twice")
        found[lead] = column
    return {lead: found[lead] for lead in LEADS if lead in found}


def _check_unit(path: Path, signal: NDArray[np.float32], unit: str) -> None:
    """Refuses values that no heart makes in the stated unit."""
    low, high = np.percentile(signal, [1, 99], axis=1)
    span = float(np.median(high - low))
    if not USUAL[0] <= span <= USUAL[1]:
        raise DataError(
            f"{path}: its leads span {span:.3g} mV if its values are in {unit}; {USUAL[0]:g} to "
            f"{USUAL[1]:g} mV is usual. Give the unit: --unit {' or '.join(UNITS)}."
        )
