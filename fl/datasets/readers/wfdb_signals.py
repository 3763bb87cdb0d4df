"""Reads WFDB recordings and checks everything that a header states before using it.

A header is text that anyone may have edited. It is read as text first, so that no file other
than the record's own is ever opened; only then is it given to wfdb.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.wfdb_samples import with_stored_samples
from fl.ecg.quality import fill_gaps, lack_of_signal
from fl.ecg.records import LEADS, lead_name
from fl.util.errors import UnusableRecord

MIN_SECONDS = 5.0  # the shortest recording of CPSC2018 has 6 s
MAX_HEADER = 100_000  # bytes; the longest published header has about 2,000

SIGNAL_FILES = (".mat", ".dat")
FRANK_FILE = ".xyz"  # beside the .dat of a PTB record, with its Frank leads; it is never opened
# Bytes per sample of the uncompressed WFDB formats; compressed ones are refused.
_FORMATS = {
    "8": 1.0,
    "16": 2.0,
    "24": 3.0,
    "32": 4.0,
    "61": 2.0,
    "80": 1.0,
    "160": 2.0,
    "212": 1.5,
    "310": 4 / 3,
    "311": 4 / 3,
}
_MILLIVOLTS = {"mV": 1.0, "mv": 1.0, "uV": 1e-3, "µV": 1e-3, "V": 1e3}


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """The usable leads of one recording, in the order of `fl.ecg.records.LEADS`."""

    signal: NDArray[np.float32]  # (lead, sample) in the requested unit
    leads: tuple[str, ...]
    dropped: tuple[str, ...]  # leads that were recorded but have no usable signal
    fs: float  # Hz
    comments: tuple[str, ...]  # header comments without `#`; they may contain patient fields


def read_waveform(
    stem: Path, *, name: str, rates: tuple[float, ...], unit: str, lead_two: str = ""
) -> Waveform:
    """The recording with the header `stem`.hea, in `unit` (`mV` or `NU`).

    `rates` (Hz) are the accepted sampling rates; empty accepts any. `lead_two` is the header's
    name of a lead that is taken as II, for headers that use no lead's name. A lead that is flat,
    clipped or missing for more than 5% of the time is left out; shorter gaps are filled by a
    straight line. Raises `UnusableRecord` with the verdict if the recording cannot be used.
    """
    header = _checked_header(stem, name)
    if rates and not any(abs(header.fs - rate) < 1e-6 for rate in rates):
        accepted = " or ".join(f"{rate:g}" for rate in rates)
        raise UnusableRecord(name, "wrong-rate", f"fs is {header.fs:g} Hz; accepted: {accepted} Hz")
    channels = _channels(header, name, lead_two)
    _check_length(stem, header, name)
    recorded = _samples(stem, header, name)
    _check_sums(recorded, name)
    if len(recorded.d_signal) < MIN_SECONDS * header.fs:
        seconds = len(recorded.d_signal) / header.fs
        raise UnusableRecord(name, "too-short", f"{seconds:.1f} s; at least {MIN_SECONDS:g} s")
    return _waveform(recorded, channels, name, unit)


def _checked_header(stem: Path, name: str) -> Any:
    """The header as wfdb parses it, after its file names have been checked."""
    path = stem.parent / f"{stem.name}.hea"
    content = read_own_file(path, name)
    if len(content) > MAX_HEADER:
        raise UnusableRecord(name, "bad-header", f"{path.name} is too large to be a header")
    text = content.decode("ascii", errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise UnusableRecord(name, "bad-header", f"{path.name} is empty")
    _check_signal_files({line.split()[0] for line in lines[1:]}, stem, name)
    first = lines[0].split()[0]
    if first != stem.name:
        shown = first[:40] if first.isascii() and first.isprintable() else "something unreadable"
        raise UnusableRecord(name, "bad-header", f"its first line names {shown}, not {stem.name}")
    header = _parsed_header(stem, name)
    described = len(lines) - 1
    if header.n_sig != described:
        raise UnusableRecord(
            name, "bad-header", f"it announces {header.n_sig} signals and describes {described}"
        )
    if header.fs is None or not 0 < header.fs < 1e6:
        raise UnusableRecord(name, "bad-header", "no sampling rate")
    return _without_frank_leads(header, stem)


def _check_signal_files(files: set[str], stem: Path, name: str) -> None:
    """`UnusableRecord` unless the header names exactly one file and it is the record's own.

    A file of Frank leads beside it is allowed if it is the record's own too.
    """
    files = files - {stem.name + FRANK_FILE}
    own = {stem.name + suffix for suffix in SIGNAL_FILES}
    for file in sorted(files - own):
        if re.fullmatch(r"[\w./\\:~-]+", file):
            raise UnusableRecord(name, "foreign-file", f"it names {file[:60]}")
        raise UnusableRecord(name, "bad-header", f"{stem.name}.hea is not text")
    if len(files) != 1:
        raise UnusableRecord(
            name, "bad-header", f"it names {len(files)} signal files; 1 is expected"
        )


# What a header says of each signal, as lists of wfdb's record.
_OF_SIGNALS = (
    *("file_name", "fmt", "samps_per_frame", "skew", "byte_offset", "adc_gain", "baseline"),
    *("units", "adc_res", "adc_zero", "init_value", "checksum", "block_size", "sig_name"),
)


def _without_frank_leads(header: Any, stem: Path) -> Any:
    """The header of the signals in the record's main file alone."""
    kept = [i for i, file in enumerate(header.file_name) if file != stem.name + FRANK_FILE]
    if len(kept) < header.n_sig:
        for field in _OF_SIGNALS:
            setattr(header, field, [getattr(header, field)[i] for i in kept])
        header.n_sig = len(kept)
    return header


def _parsed_header(stem: Path, name: str) -> Any:
    try:
        return wfdb_access.header(stem)
    except Exception as error:  # wfdb raises many kinds of errors on a broken header
        kind = type(error).__name__  # not its message, which may quote a patient field
        raise UnusableRecord(name, "bad-header", f"wfdb: {kind}") from None


def _channels(header: Any, name: str, lead_two: str) -> dict[str, int]:
    """Channel number of each known lead, by its name and never by its position."""
    stated = [(raw or "").strip() for raw in header.sig_name]
    names = ["II" if raw and raw == lead_two else raw for raw in stated]
    known = [(lead_name(raw), i) for i, raw in enumerate(names)]
    channels: dict[str, int] = {}
    for lead, i in known:
        if lead is None:
            continue
        if lead in channels:
            raise UnusableRecord(name, "lead-names", f"lead {lead} is named twice")
        channels[lead] = i
    if not channels:
        found = ", ".join(raw[:20] for raw in stated[:12] if raw.isascii() and raw.isprintable())
        raise UnusableRecord(
            name, "lead-names", f"{header.n_sig} signals, none with the name of a lead: {found}"
        )
    return {lead: channels[lead] for lead in LEADS if lead in channels}


def _check_length(stem: Path, header: Any, name: str) -> None:
    """`UnusableRecord` if the signal file is smaller than the header says, or cannot be read."""
    path = stem.parent / header.file_name[0]
    require_file(path, name)
    if set(header.samps_per_frame) != {1} or any(skew for skew in header.skew if skew):
        raise UnusableRecord(name, "bad-header", "leads of different rates or skews are not read")
    if len(set(header.fmt)) != 1 or header.fmt[0] not in _FORMATS:
        formats = ", ".join(sorted(set(map(str, header.fmt))))
        raise UnusableRecord(name, "bad-header", f"signal format {formats[:40]} is not read")
    offset = header.byte_offset[0] or 0
    samples = (header.sig_len or 0) * header.n_sig
    expected = offset + int(samples * _FORMATS[header.fmt[0]])
    size = path.stat().st_size
    if size < expected or size <= offset:
        raise UnusableRecord(name, "truncated", f"{path.name} has {size} bytes of {expected}")


def _samples(stem: Path, header: Any, name: str) -> Any:
    """The header with the stored integers."""
    try:
        return with_stored_samples(stem, header)
    except Exception as error:  # wfdb and numpy raise many kinds of errors on a broken file
        raise UnusableRecord(name, "bad-signal", f"wfdb: {type(error).__name__}") from None


def _check_sums(recorded: Any, name: str) -> None:
    """`UnusableRecord` if a 16-bit sum or first sample differs from the one in the header."""
    sums = recorded.d_signal.sum(axis=0, dtype=np.int64)
    for i, lead in enumerate(recorded.sig_name):
        stated, first = recorded.checksum[i], recorded.init_value[i]
        if stated is not None and (int(sums[i]) - stated) % 65536:
            raise UnusableRecord(name, "checksum", f"the 16-bit sum of lead {lead} differs")
        # A header without sums has no first samples either; wfdb then fills in zeros.
        if stated is not None and first is not None and recorded.d_signal[0, i] != first:
            raise UnusableRecord(name, "checksum", f"the first sample of lead {lead} differs")


def _waveform(recorded: Any, channels: dict[str, int], name: str, unit: str) -> Waveform:
    """The leads with a usable signal, in the requested unit."""
    signal, kept, dropped, lacks = [], [], [], []
    physical = recorded.dac(return_res=32)
    for lead, i in channels.items():
        scale = _scale(recorded.units[i], unit, name)
        samples = physical[:, i].astype(np.float32) * np.float32(scale)
        lack = lack_of_signal(recorded.d_signal[:, i], samples)
        if not lack:
            signal.append(fill_gaps(samples))
            kept.append(lead)
        else:
            dropped.append(lead)
            lacks.append(f"{lead} {lack}")
    if not kept:
        raise UnusableRecord(name, "no-signal", ", ".join(lacks))
    return Waveform(
        signal=np.stack(signal),
        leads=tuple(kept),
        dropped=tuple(dropped),
        fs=float(recorded.fs),
        comments=tuple(recorded.comments),
    )


def _scale(stated: str, unit: str, name: str) -> float:
    """What multiplies values in the stated unit to give values in `unit`."""
    if unit == "mV" and stated in _MILLIVOLTS:
        return _MILLIVOLTS[stated]
    if stated == unit:
        return 1.0
    raise UnusableRecord(name, "bad-header", f"unit is {stated[:20]!r}; {unit} is expected")


def read_own_file(path: Path, name: str) -> bytes:
    """Content of a record's own file; `UnusableRecord` if there is none that can be read."""
    require_file(path, name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableRecord(name, "missing-file", f"{path.name}: {error.strerror}") from None


def require_file(path: Path, name: str) -> None:
    """`UnusableRecord` unless there is a regular file: no folder, and no pipe without an end."""
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise UnusableRecord(name, "missing-file", f"{path.name} {problem}")
