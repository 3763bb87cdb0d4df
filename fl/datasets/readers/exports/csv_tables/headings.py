"""What the headings of a table say: a lead and its unit, a time and its unit, a sample number."""

import re
from dataclasses import dataclass

from fl.datasets.readers.header_text import MILLIVOLTS_PER
from fl.ecg.records import lead_name

# mV of one unit, by its name in small letters. Both signs for micro are in use.
VOLTAGES = {
    **{name.lower(): scale for name, scale in MILLIVOLTS_PER.items()},
    **dict.fromkeys(("µv", "μv"), MILLIVOLTS_PER["uV"]),
}
# Seconds of one unit.
DURATIONS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("us", "µs", "μs", "microsecond", "microseconds"), 1e-06),
}
_TIMES = frozenset(
    {"time", "t", "times", "timestamp", "elapsed", "elapsed time", "zeit", "temps", "tiempo"}
)
_NUMBERS = frozenset(
    {"", "#", "index", "idx", "sample", "samples", "sample number", "sample_number", "sample #"}
    | {"n", "no", "nr", "frame", "row", "unnamed: 0"}
)
UNIT_WORDS = frozenset({*VOLTAGES, *DURATIONS, "samples", "sample"})
_BRACKETS = re.compile(r"(.*?)[\s_]*[\[({]\s*([^\])}]*?)\s*[\])}]")
_AFTER = re.compile(r"(.+?)(?:\s*/\s*|[\s_]+)(\S+)")


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What one column is: a lead, a time or a sample number."""

    text: str  # as written
    lead: str | None = None  # of LEADS
    time: bool = False
    number: bool = False
    unit: str = ""  # in small letters, as written; "" if none is


def parse_heading(text: str, unit_below: str = "") -> Heading:
    """`I [mV]`, `II (uV)`, `V1/µV`, `time_ms`, `Zeit [s]`, `index`. Unknown: neither of the three.

    `unit_below` is the unit in the line under the heading.
    """
    name, unit = _split(text)
    unit = unit or unit_below.strip().lower()
    plain = name.lower()
    if plain in DURATIONS and not unit:
        return Heading(text=text, time=True, unit=plain)
    if plain in _TIMES:
        if unit in ("sample", "samples"):
            return Heading(text=text, number=True)
        return Heading(text=text, time=True, unit=unit)
    if plain in _NUMBERS and unit in ("", "sample", "samples"):
        return Heading(text=text, number=True)
    return Heading(text=text, lead=lead_name(name), unit=unit)


def _split(text: str) -> tuple[str, str]:
    """Name and unit, in small letters, of a heading; unit "" if there is none."""
    found = _BRACKETS.fullmatch(text)
    if found:
        return found[1].strip(), found[2].lower()
    found = _AFTER.fullmatch(text)
    if found and found[2].lower() in UNIT_WORDS and found[1].lower() != "lead":
        return found[1].strip(), found[2].lower()
    return text.strip(), ""
