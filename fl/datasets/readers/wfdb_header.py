"""Parses WFDB headers: each field is read by the format's rule or refused, and none is guessed.

Format: https://physionet.org/physiotools/wag/header-5.htm. Where a field may be left out, the
format's rule is followed and a note says so; dates and times are not used, so a wrong one is noted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fl.datasets.readers.own_files import shown
from fl.util.errors import UnusableRecord

DEFAULT_GAIN = 200.0  # units per mV, of a header with gain 0 or without a gain

GAIN_NOTE = "gain 0 or none in the header: WFDB's default of 200 units per mV is taken"
DATE_NOTE = "the date or time is not in WFDB's form (HH:MM:SS DD/MM/YYYY); it is not used"
LENGTH_NOTE = "length 0 or none in the header: it follows from the signal file"

_NUMBER = r"[-+]?(?:\d{1,15}\.?\d{0,15}|\.\d{1,15})(?:[eE][-+]?\d{1,2})?"
_RATE = re.compile(rf"({_NUMBER})(?:/{_NUMBER}(?:\({_NUMBER}\))?)?")
_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
_GAIN = re.compile(rf"({_NUMBER})?(?:\(([-+]?\d+)(?:\.0*)?\))?(?:/(.*))?")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_LIKE_A_DATE = re.compile(r"\d{1,2}:\d.*|\d{1,4}[/-]\d{1,2}[/-].*|(\d{1,2}\.){2}\d{2,4}|\[.*")
_SEGMENT = re.compile(r"(\S+)\s+(\d{1,18})")


@dataclass(frozen=True, kw_only=True)
class SignalLine:
    """What a header says of one signal."""

    file: str
    format: str
    per_frame: int
    skew: int
    offset: int  # bytes before the first sample
    gain: float  # units per physical unit
    baseline: int  # the stored number that stands for 0
    unit: str
    resolution: int  # bits
    zero: int  # the stored number in the middle of the converter's range
    first: int | None  # sample; None where the header does not say
    checksum: int | None
    name: str  # of the lead, as the header writes it


@dataclass(frozen=True, kw_only=True)
class Header:
    """A header that was read without guessing."""

    fs: float  # Hz
    length: int  # samples of each signal; 0 where the header does not say
    signals: tuple[SignalLine, ...]  # none in the header of a record of several segments
    segments: tuple[tuple[str, int], ...]  # name and samples; none in any other header
    comments: tuple[str, ...]  # without `#`; they may contain patient fields
    notes: tuple[str, ...]


def split_lines(lines: Sequence[str]) -> tuple[list[tuple[int, str]], tuple[str, ...]]:
    """Numbered lines with content, and comments without their `#`."""
    stripped = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    comments = tuple(line.strip(" \t#") for _, line in stripped if line.startswith("#"))
    return [(n, line) for n, line in stripped if line and not line.startswith("#")], comments


def parse_header(lines: Sequence[str], name: str) -> Header:
    """The header of a record; `UnusableRecord` names the line and what is wrong with it."""
    numbered, comments = split_lines(lines)
    (number, first), *others = numbered
    header = _record_line(_Place(name, number), first.split())
    segments = "/" in first.split()[0]
    announced = int(first.split()[0].rpartition("/")[2]) if segments else _count(first)
    if announced != len(others):
        kind = "segments" if segments else "signals"
        raise UnusableRecord(
            name, "bad-header", f"it announces {announced} {kind} and describes {len(others)}"
        )
    if segments:
        found = tuple(_segment_line(_Place(name, n), line) for n, line in others)
        return replace(header, segments=found, comments=comments)
    signals = tuple(_signal_line(_Place(name, n), line) for n, line in others)
    notes = header.notes if all(stated for _, stated in signals) else (*header.notes, GAIN_NOTE)
    return replace(header, signals=tuple(s for s, _ in signals), comments=comments, notes=notes)


@dataclass(frozen=True)
class _Place:
    """Where in a header a value was found."""

    record: str
    line: int

    def refuse(self, found: str, accepted: str) -> UnusableRecord:
        detail = f"line {self.line}: {found}; accepted: {accepted}. Correct the header"
        return UnusableRecord(self.record, "bad-header", detail)


def _count(line: str) -> int:
    return int(line.split()[1])


def _record_line(place: _Place, fields: list[str]) -> Header:
    if len(fields) < 2 or not re.fullmatch(r"\d{1,6}", fields[1]):
        found = f"the number of signals is {shown(fields[1])}" if fields[1:] else "it is one word"
        raise place.refuse(found, "a record's name, a number of signals and a sampling rate")
    if len(fields) < 3:
        raise place.refuse("no sampling rate", "a number in Hz after the number of signals")
    rate = _RATE.fullmatch(fields[2])
    fs = float(rate[1]) if rate else 0.0
    if not 0 < fs < 1e6:
        raise place.refuse(
            f"the sampling rate is {shown(fields[2])}",
            "a number in Hz with a decimal point and without a unit, such as 500 or 360.5",
        )
    rest, notes, length = fields[3:], [], 0
    if rest and re.fullmatch(r"\d{1,15}", rest[0]):
        length = int(rest.pop(0))
    elif rest and not _LIKE_A_DATE.fullmatch(rest[0]):
        raise place.refuse(f"the number of samples is {shown(rest[0])}", "a whole number")
    if rest and not _is_time_and_date(rest):
        notes.append(DATE_NOTE)
    return Header(fs=fs, length=length, signals=(), segments=(), comments=(), notes=tuple(notes))


def _is_time_and_date(fields: list[str]) -> bool:
    """Whether a header's base time, and base date if there is one, are as the format says."""
    if not re.fullmatch(r"(\d{1,2}:){0,2}\d{1,2}(\.\d+)?", fields[0]) or len(fields) > 2:
        return False
    try:
        return len(fields) == 1 or bool(datetime.strptime(fields[1], "%d/%m/%Y"))
    except ValueError:
        return False


def _segment_line(place: _Place, line: str) -> tuple[str, int]:
    match = _SEGMENT.fullmatch(line)
    if not match:
        raise place.refuse("it names no segment", "a segment's name and its number of samples")
    return match[1], int(match[2])


def _signal_line(place: _Place, line: str) -> tuple[SignalLine, bool]:
    """A signal, and whether its gain is stated."""
    fields = line.split(maxsplit=2)
    form = _FORMAT.fullmatch(fields[1]) if fields[1:] else None
    if form is None:
        found = f"the format is {shown(fields[1])}" if fields[1:] else "it has no format"
        raise place.refuse(found, "a number such as 16, 212 or 16+24")
    gain, baseline, unit, rest = _gain(place, fields[2] if fields[2:] else "")
    numbers, label = _numbers(rest)
    resolution, zero, first, checksum, _ = numbers
    signal = SignalLine(
        file=fields[0],
        format=form[1],
        per_frame=int(form[2] or 1),
        skew=int(form[3] or 0),
        offset=int(form[4] or 0),
        gain=gain or DEFAULT_GAIN,
        baseline=(zero or 0) if baseline is None else baseline,
        unit=unit,
        resolution=resolution or 0,
        zero=zero or 0,
        first=first,
        checksum=checksum,
        name=label,
    )
    return signal, gain != 0


def _gain(place: _Place, text: str) -> tuple[float, int | None, str, str]:
    """Gain (0 if not stated), baseline, unit and the fields that follow."""
    field, rest = (*text.split(maxsplit=1), "", "")[:2]
    if not field or field[0].isalpha():
        return 0.0, None, "mV", text  # a line that goes on with the name of its lead
    match = _GAIN.fullmatch(field)
    if match is None:
        raise place.refuse(
            f"gain, baseline and unit are {shown(field)}",
            "such as 1000, 200(1024)/mV or 1(0)/uV, with a decimal point",
        )
    baseline = None if match[2] is None else int(match[2])
    return float(match[1] or 0), baseline, "mV" if match[3] is None else match[3], rest


def _numbers(text: str) -> tuple[list[int | None], str]:
    """Bits, zero, first sample, checksum and block size as far as stated, and the lead's name."""
    found: list[int | None] = []
    rest = text.strip()
    while rest and len(found) < 5:
        field = rest.split(maxsplit=1)
        if not _INTEGER.fullmatch(field[0]):
            break
        found.append(int(field[0]))
        rest = field[1].strip() if field[1:] else ""
    return found + [None] * (5 - len(found)), rest
