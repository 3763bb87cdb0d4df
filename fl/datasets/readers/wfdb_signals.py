"""Reads WFDB recordings and checks everything that a header states before using it.

A header is text that anyone may have edited. Its file names are checked first, so that no file
other than the record's own is ever opened, and every field is parsed here: see `wfdb_header`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.header_text import MILLIVOLTS_PER, header_lines
from fl.datasets.readers.lead_channels import lead_channels
from fl.datasets.readers.matlab_samples import array_samples, check_version_4, matlab_version
from fl.datasets.readers.own_files import own_file, read_own_file, require_file, shown
from fl.datasets.readers.wfdb_header import (
    LENGTH_NOTE,
    Header,
    SignalLine,
    parse_header,
    split_lines,
)
from fl.datasets.readers.wfdb_samples import MISSING, stored_samples
from fl.datasets.readers.wfdb_segments import Recorded, joined, segment_stems
from fl.ecg.quality import usable_leads
from fl.ecg.records import MILLIVOLTS
from fl.util.errors import UnusableRecord

MIN_SECONDS = 5.0  # the shortest recording of CPSC2018 has 6 s
MAX_HEADER = 100_000  # bytes; the longest published header has about 2,000

SIGNAL_FILES = (".mat", ".dat")
FRANK_FILE = ".xyz"  # beside the .dat of a PTB record, with its Frank leads; it is never opened

FRANK_NOTE = "Frank leads in the .xyz file, not read"
CHECKSUM_NOTE = "checksum 0 or none in the header: the signal was not checked against it"
IGNORED_NOTE = "the signal does not match the header's checksum, which was ignored as asked"
LONGER_NOTE = "the signal file is longer than the header says; the rest was not read"
ARRAY_NOTE = "a MATLAB {} file: its array was read; the format in the header was not used"


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """The usable leads of one recording, in the order of `fl.ecg.records.LEADS`."""

    signal: NDArray[np.float32]  # (lead, sample) in the requested unit
    leads: tuple[str, ...]
    dropped: tuple[str, ...]  # leads that were recorded but have no usable signal
    fs: float  # Hz
    comments: tuple[str, ...]  # header comments without `#`; they may contain patient fields
    notes: tuple[str, ...] = ()  # what the files left open or had wrong, and how it was read


@dataclass(frozen=True, kw_only=True)
class Request:
    """How a record is to be read."""

    name: str
    unit: str
    rates: tuple[float, ...]
    lead_two: str
    ignore_checksums: bool


def read_waveform(
    stem: Path,
    *,
    name: str,
    rates: tuple[float, ...],
    unit: str,
    lead_two: str = "",
    ignore_checksums: bool = False,
) -> Waveform:
    """The recording with the header `stem`.hea, in `unit` (`mV` or `NU`).

    `rates` (Hz) are the accepted sampling rates; empty accepts any. `lead_two` is the header's
    name of a lead that is taken as II, for headers that use no lead's name. A lead that is flat,
    clipped or missing for more than 5% of the time, or larger than any heart's, is left out;
    shorter gaps are filled by a straight line. `ignore_checksums` reads signals that differ from
    the header's checksums, and notes it. Raises `UnusableRecord` with the verdict if the recording
    cannot be used.
    """
    request = Request(
        name=name, unit=unit, rates=rates, lead_two=lead_two, ignore_checksums=ignore_checksums
    )
    header = _checked_header(stem, request)
    if header.segments:
        recorded = _joined_segments(stem, header, request)
    else:
        recorded = _recorded(stem, header, request)
    if recorded.length < MIN_SECONDS * recorded.fs:
        seconds = recorded.length / recorded.fs
        raise UnusableRecord(name, "too-short", f"{seconds:.1f} s; at least {MIN_SECONDS:g} s")
    return _waveform(recorded, request)


def _checked_header(stem: Path, request: Request) -> Header:
    """The header, after its file names have been checked."""
    name, path = request.name, own_file(stem, ".hea")
    content = read_own_file(path, name)
    if len(content) > MAX_HEADER:
        raise UnusableRecord(name, "bad-header", f"{path.name} is too large to be a header")
    lines = header_lines(content)
    numbered, _ = split_lines(lines)
    if not numbered:
        raise UnusableRecord(name, "bad-header", f"{path.name} is empty")
    first = numbered[0][1].split()[0]
    own_name = re.fullmatch(rf"{re.escape(stem.name)}(/\d{{1,6}})?", first)
    if not (own_name and own_name[1]):  # files of segments are checked one by one
        _check_signal_files({line.split()[0] for _, line in numbered[1:]}, stem, name)
    if not own_name:
        named = first[:40] if first.isascii() and first.isprintable() else "something unreadable"
        raise UnusableRecord(name, "bad-header", f"its first line names {named}, not {stem.name}")
    header = parse_header(lines, name)
    rates = request.rates
    if rates and not any(abs(header.fs - rate) < 1e-6 for rate in rates):
        accepted = " or ".join(f"{rate:g}" for rate in rates)
        raise UnusableRecord(name, "wrong-rate", f"fs is {header.fs:g} Hz; accepted: {accepted} Hz")
    return header


def _check_signal_files(files: set[str], stem: Path, name: str) -> None:
    """`UnusableRecord` unless the header names exactly one file and it is the record's own.

    A file of Frank leads beside it is allowed if it is the record's own too.
    """
    files = {file for file in files if file != stem.name + FRANK_FILE}
    for file in sorted(files):
        if file.startswith(stem.name) and file[len(stem.name) :].lower() in SIGNAL_FILES:
            continue
        if re.fullmatch(r"[\w./\\:~-]+", file, re.ASCII):
            accepted = " or ".join(stem.name + suffix for suffix in SIGNAL_FILES)
            raise UnusableRecord(
                name, "foreign-file", f"it names {file[:60]}; accepted: {accepted}"
            )
        raise UnusableRecord(name, "bad-header", f"{stem.name}.hea is not text")
    if len(files) != 1:
        raise UnusableRecord(
            name, "bad-header", f"it names {len(files)} signal files; 1 is expected"
        )


def _joined_segments(stem: Path, header: Header, request: Request) -> Recorded:
    """The segments of a record one after the other; gaps between them are missing samples."""
    parts: list[tuple[Recorded | None, int]] = []
    for segment, length in segment_stems(stem, header, request.name):
        if segment is None:
            parts.append((None, length))
            continue
        own = _checked_header(segment, request)
        if own.segments or own.fs != header.fs or own.length not in (0, length):
            raise UnusableRecord(
                request.name,
                "bad-header",
                f"segment {segment.name} has {own.length} samples at {own.fs:g} Hz; the record "
                f"says {length} at {header.fs:g} Hz",
            )
        parts.append((_recorded(segment, replace(own, length=length), request), length))
    return joined(parts, header, request.name)


def _recorded(stem: Path, header: Header, request: Request) -> Recorded:
    """The leads of a record of one segment."""
    name = request.name
    kept = [s for s in header.signals if s.file != stem.name + FRANK_FILE]
    notes = [*header.notes, *([FRANK_NOTE] if len(kept) < len(header.signals) else [])]
    header = replace(header, signals=tuple(kept))
    leads = lead_channels([s.name for s in kept], request.lead_two, name)
    notes += leads.notes
    samples, missing, read_notes = _stored(stem, header, name)
    notes += read_notes
    notes += _check_sums(samples, header.signals, request)
    return Recorded(
        stored={lead: samples[:, i] for lead, i in leads.channels.items()},
        samples={
            lead: _physical(samples[:, i], kept[i], missing, request)
            for lead, i in leads.channels.items()
        },
        length=len(samples),
        fs=header.fs,
        comments=header.comments,
        notes=tuple(dict.fromkeys(notes)),
    )


def _stored(stem: Path, header: Header, name: str) -> tuple[NDArray[Any], int | None, list[str]]:
    """The stored numbers (sample, lead), the one of a missing sample, and notes."""
    file = header.signals[0].file
    path = own_file(stem, file[len(stem.name) :])
    require_file(path, name)
    notes = [] if header.length else [LENGTH_NOTE]
    version = matlab_version(path)
    if version in ("5", "7.3"):
        notes.append(ARRAY_NOTE.format(version))
        return array_samples(path, version, header, name), MISSING["16"], notes
    if version == "4":
        check_version_4(path, header, name)
    samples, held = stored_samples(path, header, name)
    if held > len(samples):
        notes.append(LONGER_NOTE)
    return samples, MISSING.get(header.signals[0].format), notes


def _check_sums(
    samples: NDArray[Any], signals: Sequence[SignalLine], request: Request
) -> list[str]:
    """Notes; `UnusableRecord` if a 16-bit sum or first sample differs from the one in the header.

    A sum of 0 was not computed by most programs that write it, nor a first sample beside it.
    """
    if samples.dtype.kind == "f":
        return [CHECKSUM_NOTE]
    sums = samples.sum(axis=0, dtype=np.int64)
    notes = []
    for i, signal in enumerate(signals):
        problem = ""
        if not signal.checksum:
            if signal.checksum is None or int(sums[i]) % 65536:
                notes.append(CHECKSUM_NOTE)
            continue
        if (int(sums[i]) - signal.checksum) % 65536:
            problem = f"the 16-bit sum of lead {shown(signal.name)} differs"
        elif signal.first is not None and samples[0, i] != signal.first:
            problem = f"the first sample of lead {shown(signal.name)} differs"
        if problem and not request.ignore_checksums:
            step = "fetch the files again, or read it as it is with --ignore-checksums"
            raise UnusableRecord(request.name, "checksum", f"{problem}; {step}")
        notes += [IGNORED_NOTE] if problem else []
    return notes


def _physical(
    stored: NDArray[Any], signal: SignalLine, missing: int | None, request: Request
) -> NDArray[np.float32]:
    """A lead's samples in the requested unit, nan where one is missing.

    Each step is rounded to 32 bits as wfdb does it, so that both give the same bits.
    """
    scale = _scale(signal.unit, request)
    offset = (stored.astype(np.float32) - np.float64(signal.baseline)).astype(np.float32)
    values = (offset / np.float64(signal.gain)).astype(np.float32) * np.float32(scale)
    if missing is not None:
        values[stored == missing] = np.nan
    return values


def _scale(stated: str, request: Request) -> float:
    """What multiplies values in the stated unit to give values in the requested unit."""
    if request.unit == MILLIVOLTS and stated in MILLIVOLTS_PER:
        return MILLIVOLTS_PER[stated]
    if stated == request.unit:
        return 1.0
    accepted = "mV, uV (or with a micro sign), nV, V" if request.unit == MILLIVOLTS else ""
    raise UnusableRecord(
        request.name,
        "bad-header",
        f"unit is {shown(stated)}; {request.unit} is expected"
        + (f"; read are {accepted}. Correct the unit after the gain" if accepted else ""),
    )


def _waveform(recorded: Recorded, request: Request) -> Waveform:
    """The leads with a usable signal, in the requested unit."""
    usable = usable_leads(
        request.name,
        recorded.stored,
        recorded.samples,
        recorded.fs,
        millivolts=request.unit == MILLIVOLTS,
    )
    return Waveform(
        signal=usable.signal,
        leads=usable.leads,
        dropped=usable.dropped,
        fs=recorded.fs,
        comments=recorded.comments,
        notes=recorded.notes,
    )
