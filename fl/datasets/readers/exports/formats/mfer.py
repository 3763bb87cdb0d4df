"""MFER (ISO 22077-1). A dominant beat is not read; frames of one layout follow each other."""

from typing import Any

from fl.datasets.readers.exports.formats.format import Format


def _matches(head: bytes) -> bool:
    return head[:1] == b"\x40" and head[2:6] == b"MFR "


def _rate(parsed: Any, lead: int) -> float:
    """The file states a frequency or an interval; the library rounds it to whole Hz."""
    return float(parsed.raw_metadata["sampling_rates"][lead])


FORMAT = Format(name="MFER", reader="mfer", suffixes=(".mwf", ".mfr"), matches=_matches, rate=_rate)
