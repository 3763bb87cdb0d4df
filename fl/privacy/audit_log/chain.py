"""A line of an audit log: JSON that carries the SHA-256 of the line before it.

Source: Haber & Stornetta 1991, doi:10.1007/BF00196791 (each time stamp holds a hash of the one
before it). A chain shows that a line was changed, put in or taken out only as far as somebody
keeps a later digest where the writer of the log cannot reach it: whoever may write the files can
compute all that follows again.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from fl.util.one_line import one_line

START = "0" * 64  # in place of a digest, in the first line
MOST_BYTES = 64 * 2**10  # of a line
MOST_ITEMS = 256  # of a list or a mapping in it
LONGEST_TEXT = 200  # characters of a text in it
DEEPEST = 4  # mappings and lists in one another
OWN = ("line", "time", "event", "previous")  # keys of the chain itself


@dataclass(frozen=True)
class Head:
    """The last line of a log: its number, from 1 on, and its SHA-256."""

    line: int
    sha256: str

    def __str__(self) -> str:
        return f"line {self.line}, SHA-256 {self.sha256}"


NOTHING = Head(0, START)  # of a log without lines


def line_digest(line: bytes) -> str:
    """SHA-256 of a line without its line end, as hexadecimal digits."""
    return hashlib.sha256(line).hexdigest()


def torn_event(parts: Sequence[bytes]) -> dict[str, Any]:
    """The event that states parts of lines, each of which stands in the place of a line."""
    whole = b"\n".join(parts)
    return {
        "event": "torn",
        "parts": len(parts),
        "bytes": len(whole),
        "sha256": hashlib.sha256(whole).hexdigest(),
    }


def make_line(number: int, time: str, event: Mapping[str, Any], previous: str) -> bytes:
    """A line without its line end; `time` as ISO 8601 in UTC.

    What a line has no room for is left out of it, and it says so (`cut`).
    """
    facts = {one_line(str(k)): bounded(v) for k, v in event.items() if k not in OWN}
    made = _encoded(number, time, event, facts, previous)
    if len(made) <= MOST_BYTES:
        return made
    short = {k: v for k, v in facts.items() if not isinstance(v, dict | list)}
    return _encoded(number, time, event, short | {"cut": True}, previous)


def _encoded(
    number: int, time: str, event: Mapping[str, Any], facts: dict[str, Any], previous: str
) -> bytes:
    whole = {"line": number, "time": time, "event": one_line(str(event["event"]))} | facts
    return json.dumps(whole | {"previous": previous}, allow_nan=False).encode("ascii")


def read_line(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None if it is no whole line of a log."""
    if len(line) > MOST_BYTES:
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    kinds = {"line": int, "time": str, "event": str, "previous": str}
    if any(type(found.get(name)) is not kind for name, kind in kinds.items()):
        return None
    return found


def bounded(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it, and no longer than a line has room for.

    What comes from outside may be any number, any text and any depth.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        bits = int(value).bit_length()
        return int(value) if bits < 64 else f"an integer of {bits} bits"
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return one_line(value, LONGEST_TEXT)
    if isinstance(value, Mapping) and depth < DEEPEST:
        kept = list(value.items())[:MOST_ITEMS]
        found = {one_line(str(k), LONGEST_TEXT): bounded(v, depth + 1) for k, v in kept}
        return found | _left_out(len(value))
    if isinstance(value, list | tuple) and depth < DEEPEST:
        found_items = [bounded(v, depth + 1) for v in value[:MOST_ITEMS]]
        return [*found_items, *([_left_out(len(value))] if len(value) > MOST_ITEMS else [])]
    return type(value).__name__


def _left_out(number: int) -> dict[str, int]:
    return {"left-out": number - MOST_ITEMS} if number > MOST_ITEMS else {}
