"""What a monitor reports: one JSON object an event."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = (
    *("beat", "rhythm", "alarm raised", "alarm over", "alarm cleared"),
    *("cannot monitor", "can monitor", "end"),
)
# Decimals of a time in seconds: a sample lasts longer.
DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened at a sample of the input, and when it was known."""

    kind: str  # of KINDS
    sample: int  # of the input
    known: int  # samples that had been read when it was reported
    fs: float  # Hz, of the input
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def time(self) -> float:
        """Seconds from the start of the input."""
        return round(self.sample / self.fs, DECIMALS)

    @property
    def json(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "event": self.kind,
            "time": self.time,
            "sample": self.sample,
            "known": round(self.known / self.fs, DECIMALS),
            **self.facts,
        }

    @property
    def line(self) -> str:
        """One line of JSON, with its end."""
        return json.dumps(self.json, ensure_ascii=False, allow_nan=False) + "\n"
