"""What one format of recordings is: how its content is recognised and its rate found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def stated_rate(parsed: Any, lead: int) -> float:
    """Hz of one lead, for formats whose rates are whole numbers."""
    return float(parsed.leads[lead].sampling_rate)


def no_problem(parsed: Any) -> str:
    """For formats of which the library's own checks are enough."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of recordings that the library `ecgdatakit` reads."""

    name: str  # as errors show it
    reader: str  # the library's name of the format, which must agree with ours
    suffixes: tuple[str, ...]  # usual ones, which are no part of a record's name
    matches: Callable[[bytes], bool]  # whether a file that begins with these bytes has the format
    rate: Callable[[Any, int], float] = stated_rate  # Hz of a lead: the library rounds it
    problem: Callable[[Any], str] = no_problem  # why the signals cannot be used, or ""
