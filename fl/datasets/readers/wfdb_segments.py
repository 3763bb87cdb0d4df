"""Records of several segments: which files they are, and how their signals are joined.

Fixed layout (every segment has the same leads) and variable layout (a layout segment of length 0
first, gaps `~` between the others): https://physionet.org/physiotools/wag/header-5.htm.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.header_text import header_lines
from fl.datasets.readers.own_files import own_file
from fl.datasets.readers.wfdb_header import Header, split_lines
from fl.ecg.records import LEADS
from fl.util.errors import UnusableRecord

GAP = "~"  # in place of a segment's name: nothing was recorded
# As PhysioNet names the segments of a record that has another name: 3544749_0001, 3544749_layout.
_NUMBERED = re.compile(r"([\w-]+)_(\d{4}|layout)", re.ASCII)
_MASTER = re.compile(r"\S+/\d{1,6}")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The leads of a record or of one of its segments, as they were recorded."""

    stored: dict[str, NDArray[Any]]  # lead -> (sample,), whose extremes show clipping
    samples: dict[str, NDArray[np.float32]]  # lead -> (sample,) in the requested unit, nan: missing
    length: int
    fs: float
    comments: tuple[str, ...]
    notes: tuple[str, ...]


def segment_stems(stem: Path, header: Header, name: str) -> Iterator[tuple[Path | None, int]]:
    """Path without suffix and samples of each segment with a signal; None for a gap.

    `UnusableRecord` for a segment that is not the record's own: see `own_segments`.
    """
    names = [segment for segment, _ in header.segments]
    own = own_segments(stem.name, names)
    for segment, length in header.segments:
        if segment == GAP:
            yield None, length
        elif segment not in own:
            shown = segment[:40] if segment.isprintable() else "something unreadable"
            raise UnusableRecord(
                name,
                "foreign-file",
                f"it names the segment {shown}; accepted: names that begin with {stem.name}, or "
                "that all are one name with _0001, _0002, ... or _layout",
            )
        elif length:  # a layout segment has no samples
            yield stem.parent / segment, length


def own_segments(record: str, segments: Sequence[str]) -> set[str]:
    """The segments that are surely a record's own, in its folder, by their names.

    They begin with the record's name, or all have one name with a number.
    """
    plain = [s for s in segments if s != GAP]
    numbered = [_NUMBERED.fullmatch(s) for s in plain]
    if all(numbered) and len({match[1] for match in numbered if match}) == 1:
        return set(plain)
    own = re.compile(rf"{re.escape(record)}[\w-]+", re.ASCII)
    return {s for s in plain if own.fullmatch(s)}


def segments_of(stem: Path) -> set[str]:
    """The names of a record's own segments; none if its header cannot be read or names none."""
    try:
        content = own_file(stem, ".hea").read_bytes()
    except OSError:
        return set()
    numbered, _ = split_lines(header_lines(content))
    lines = [line.split() for _, line in numbered]
    if not lines or not _MASTER.fullmatch(lines[0][0]):
        return set()
    return own_segments(stem.name, [line[0] for line in lines[1:]])


def joined(parts: Sequence[tuple[Recorded | None, int]], header: Header, name: str) -> Recorded:
    """Segments and gaps one after the other. Leads that a segment lacks are missing there."""
    recorded = [part for part, _ in parts if part is not None]
    length = sum(n for _, n in parts)
    if not recorded or header.length not in (0, length):
        raise UnusableRecord(
            name, "bad-header", f"it states {header.length} samples; its segments have {length}"
        )
    samples = {
        lead: np.full(length, np.nan, dtype=np.float32)
        for lead in LEADS
        if any(lead in part.samples for part in recorded)
    }
    start = 0
    for part, n in parts:
        for lead, values in part.samples.items() if part is not None else ():
            samples[lead][start : start + n] = values
        start += n
    return Recorded(
        stored=dict(samples),  # segments may differ in gain, so that stored numbers do not compare
        samples=samples,
        length=length,
        fs=header.fs,
        comments=(*header.comments, *(c for part in recorded for c in part.comments)),
        notes=tuple(dict.fromkeys((*header.notes, *(n for part in recorded for n in part.notes)))),
    )
