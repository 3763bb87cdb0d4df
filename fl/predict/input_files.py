"""Recordings without labels: WFDB records, files of hospitals' formats, tables of text.

A file is known by its content. A table has one column per lead, named in a header (I, II, III, aVR,
aVL, aVF, V1 to V6, or an alias such as MLII), and one line per sample; see
`fl.datasets.readers.exports.csv_tables`. Of a file in a hospital's format nothing of the patient is
read.
"""

from collections.abc import Sequence
from pathlib import Path

from fl.datasets.readers.beat_annotations import beat_annotations, has_annotations
from fl.datasets.readers.exports.csv_tables.csv_recording import TABLES, read_csv
from fl.datasets.readers.exports.csv_tables.cut_beats import (
    has_wide_lines,
    read_beats,
    read_one_beat,
)
from fl.datasets.readers.exports.formats.content import NAMES, Other, kind_of
from fl.datasets.readers.exports.formats.format import Format
from fl.datasets.readers.exports.formats.recording import Recording, read_recording
from fl.datasets.readers.own_files import own_file
from fl.datasets.readers.wfdb_signals import read_waveform
from fl.datasets.record_discovery import WFDB_PARTS
from fl.ecg.records import MILLIVOLTS, NO_UNIT, Record
from fl.util.errors import DataError, UnusableRecord


def read_record(
    text: str,
    fs: float | None,
    unit: str,
    leads: Sequence[str] = (),
    ignore_checksums: bool = False,
    single_beats: bool = False,
) -> Record:
    """The recording named on the command line.

    `fs` (Hz) is the sampling rate of a table that does not give it, `unit` a name of
    `csv_recording.UNITS` or "" for what the file says, and `leads` are the columns of a table
    without a header. `ignore_checksums` reads signals that differ from theirs. With `single_beats`
    a table of heartbeats that were cut out of recordings is read too: see `Record.cut_beats`.
    Raises DataError or ConfigError with one line that says what is wrong.
    """
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix == ".hea":
        return read_wfdb(path.with_suffix(""), unit, ignore_checksums)
    header = own_file(path.with_suffix(""), ".hea")
    if suffix in WFDB_PARTS and (header.exists() or not path.is_file()):
        raise DataError(f"{text}: is a part of a WFDB record. Name its header: {header}")
    if path.is_file() and (suffix in TABLES or not Path(f"{path}.hea").exists()):
        is_table = single_beats and suffix in TABLES
        if is_table and has_wide_lines(path) and (beats := read_beats(path, fs, unit, leads)):
            return beats
        try:
            return _record(_read_file(path, fs, unit, leads, ignore_checksums), unit)
        except UnusableRecord as error:
            if is_table and error.reason == "single-beat":
                return read_one_beat(path, fs, unit, leads)
            raise
    if suffix in TABLES:
        raise DataError(f"{path}: cannot be read (no such file). Name a CSV file.")
    return read_wfdb(path, unit, ignore_checksums)


def _read_file(
    path: Path, fs: float | None, unit: str, leads: Sequence[str], ignore_checksums: bool
) -> Recording:
    """The recording in a file that is no part of a WFDB record."""
    try:
        kind = kind_of(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    if isinstance(kind, Format):
        return read_recording(path, path.name, ignore_checksums)[0]
    if isinstance(kind, Other):
        raise DataError(f"{path}: is {kind.name}, not a recording. {kind.step}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty. Export the recording again.")
    if path.suffix.lower() not in TABLES:
        raise DataError(
            f"{path}: is text, but its name does not end in {', '.join(TABLES)}. Rename a table; "
            f"other recordings are WFDB records or files of {NAMES}."
        )
    return read_csv(path, fs, unit, leads)


def _record(recording: Recording, unit: str) -> Record:
    wave = recording.waveform(NO_UNIT if unit == NO_UNIT else MILLIVOLTS)
    name = Path(recording.name).stem
    return Record(
        source="",
        name=name,
        patient=name,
        signal=wave.signal,
        leads=wave.leads,
        fs=wave.fs,
        labels=None,
        notes=wave.notes,
        unit=NO_UNIT if unit == NO_UNIT else MILLIVOLTS,
    )


def read_wfdb(stem: Path, unit: str, ignore_checksums: bool = False) -> Record:
    """A WFDB record, with the annotations of its .atr file if there is one."""
    wave = read_waveform(
        stem,
        name=stem.name,
        rates=(),
        unit=NO_UNIT if unit == NO_UNIT else MILLIVOLTS,
        ignore_checksums=ignore_checksums,
    )
    return Record(
        source="",
        name=stem.name,
        patient=stem.name,
        signal=wave.signal,
        leads=wave.leads,
        fs=wave.fs,
        labels=None,
        notes=wave.notes,
        annotations=beat_annotations(stem, stem.name, wave) if has_annotations(stem) else None,
        unit=NO_UNIT if unit == NO_UNIT else MILLIVOLTS,
    )
