"""WFDB recordings read with distrust: what the header claims is checked before it is believed.

A header is text that anyone may have edited. It is read here as text first, so that no file
but the record's own is ever opened, and wfdb sees it only afterwards.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.wfdb_samples import stored
from fl.ecg.quality import fill_gaps, has_signal
from fl.ecg.records import LEADS, lead_name
from fl.util.errors import UnusableRecord

MIN_SECONDS = 5.0  # the shortest recording of CPSC2018 has 6 s
MAX_HEADER = 100_000  # bytes; the longest published header has about 2,000

SIGNAL_FILES = (".mat", ".dat")
# Bytes per sample of the WFDB formats that are stored plainly (compressed ones are refused).
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

    signal: NDArray[np.float32]  # (lead, sample) in the unit asked for
    leads: tuple[str, ...]
    dropped: tuple[str, ...]  # leads that were recorded but hold no usable signal
    fs: float  # Hz
    comments: tuple[str, ...]  # header comments without `#`; may hold patient fields


def read_waveform(stem: Path, *, name: str, rates: tuple[float, ...], unit: str) -> Waveform:
    """The recording `stem`.hea, in `unit`; no `rates` means any sampling rate.

    A lead that is flat, clipped or missing for more than 5% of the time is left out; shorter
    gaps are bridged by a straight line. Raises `UnusableRecord`.
    """
    header = _header(stem, name)
    if rates and not any(abs(header.fs - rate) < 1e-6 for rate in rates):
        accepted = " or ".join(f"{rate:g}" for rate in rates)
        raise UnusableRecord(name, "wrong-rate", f"fs is {header.fs:g} Hz; accepted: {accepted} Hz")
    channels = _channels(header, name)
    _check_length(stem, header, name)
    recorded = _samples(stem, header, name)
    _check_sums(recorded, name)
    if len(recorded.d_signal) < MIN_SECONDS * header.fs:
        seconds = len(recorded.d_signal) / header.fs
        raise UnusableRecord(name, "too-short", f"{seconds:.1f} s; at least {MIN_SECONDS:g} s")
    return _waveform(recorded, channels, name, unit)


def _header(stem: Path, name: str) -> Any:
    """The header as wfdb parses it, after its file names are known to be harmless."""
    path = stem.parent / f"{stem.name}.hea"
    content = read_own(path, name)
    if len(content) > MAX_HEADER:
        raise UnusableRecord(name, "bad-header", f"{path.name} is too large to be a header")
    text = content.decode("ascii", errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise UnusableRecord(name, "bad-header", f"{path.name} is empty")
    own = {stem.name + suffix for suffix in SIGNAL_FILES}
    named = {line.split()[0] for line in lines[1:]}
    for file in sorted(named):
        printable = re.fullmatch(r"[\w./\\:~-]+", file)
        if file not in own and printable:
            raise UnusableRecord(name, "foreign-file", f"it names {file[:60]}")
        if file not in own:
            raise UnusableRecord(name, "bad-header", f"{path.name} is not text")
    if len(named) != 1:
        raise UnusableRecord(
            name, "bad-header", f"it names {len(named)} signal files; 1 is expected"
        )
    first = lines[0].split()[0]
    if first != stem.name:
        seen = first[:40] if first.isascii() and first.isprintable() else "no text"
        raise UnusableRecord(name, "bad-header", f"its first line names {seen}, not {stem.name}")
    header = _parsed(stem, name)
    if header.n_sig != len(lines) - 1:
        found = len(lines) - 1
        raise UnusableRecord(
            name, "bad-header", f"{header.n_sig} signals announced, {found} described"
        )
    if header.fs is None or not 0 < header.fs < 1e6:
        raise UnusableRecord(name, "bad-header", "no sampling rate")
    return header


def _parsed(stem: Path, name: str) -> Any:
    try:
        return wfdb_access.header(stem)
    except Exception as error:  # wfdb raises whatever its parser trips over
        kind = type(error).__name__  # its message may quote the header, and so a patient
        raise UnusableRecord(name, "bad-header", f"wfdb: {kind}") from None


def _channels(header: Any, name: str) -> dict[str, int]:
    """Channel number of each known lead: by name, never by position."""
    known = [(lead_name(raw or ""), i) for i, raw in enumerate(header.sig_name)]
    channels: dict[str, int] = {}
    for lead, i in known:
        if lead is None:
            continue
        if lead in channels:
            raise UnusableRecord(name, "lead-names", f"lead {lead} is named twice")
        channels[lead] = i
    if not channels:
        raise UnusableRecord(name, "lead-names", f"{header.n_sig} signals, none with a lead's name")
    return {lead: channels[lead] for lead in LEADS if lead in channels}


def _check_length(stem: Path, header: Any, name: str) -> None:
    """Compares the signal file's size with what the header promises, before reading it."""
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
    """The recording as the integers that were stored."""
    try:
        return stored(stem, header)
    except Exception as error:  # wfdb and numpy raise many kinds; none may stop the others
        raise UnusableRecord(name, "bad-signal", f"wfdb: {type(error).__name__}") from None


def _check_sums(recorded: Any, name: str) -> None:
    """Compares 16-bit sums and first samples with those that the header states, if it does."""
    sums = recorded.d_signal.sum(axis=0, dtype=np.int64)
    for i, lead in enumerate(recorded.sig_name):
        stated, first = recorded.checksum[i], recorded.init_value[i]
        if stated is not None and (int(sums[i]) - stated) % 65536:
            raise UnusableRecord(name, "checksum", f"the 16-bit sum of lead {lead} differs")
        # A header without sums has no first values either; wfdb then fills in zeros.
        if stated is not None and first is not None and recorded.d_signal[0, i] != first:
            raise UnusableRecord(name, "checksum", f"the first sample of lead {lead} differs")


def _waveform(recorded: Any, channels: dict[str, int], name: str, unit: str) -> Waveform:
    signal, kept, dropped = [], [], []
    physical = recorded.dac(return_res=32)
    for lead, i in channels.items():
        scale = _scale(recorded.units[i], unit, name)
        samples = physical[:, i].astype(np.float32) * np.float32(scale)
        if has_signal(recorded.d_signal[:, i], samples):
            signal.append(fill_gaps(samples))
            kept.append(lead)
        else:
            dropped.append(lead)
    if not kept:
        raise UnusableRecord(name, "no-signal", f"flat, clipped or missing: {', '.join(dropped)}")
    return Waveform(
        signal=np.stack(signal),
        leads=tuple(kept),
        dropped=tuple(dropped),
        fs=float(recorded.fs),
        comments=tuple(recorded.comments),
    )


def _scale(stated: str, wanted: str, name: str) -> float:
    if wanted == "mV" and stated in _MILLIVOLTS:
        return _MILLIVOLTS[stated]
    if stated == wanted:
        return 1.0
    raise UnusableRecord(name, "bad-header", f"unit is {stated[:20]!r}; {wanted} is expected")


def read_own(path: Path, name: str) -> bytes:
    """Content of a record's own file; `UnusableRecord` if it is no file or may not be read."""
    require_file(path, name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableRecord(name, "missing-file", f"{path.name}: {error.strerror}") from None


def require_file(path: Path, name: str) -> None:
    """Refuses what is not there, a folder, or a pipe that would never end."""
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "is not there"
        raise UnusableRecord(name, "missing-file", f"{path.name} {found}")
