"""SCP-ECG (EN 1064, ISO 11073-91064)."""

import struct
from typing import Any

from fl.datasets.readers.exports.formats.format import Format

_HEADER = 32  # bytes: sums, section 0's own header, and its pointer to itself


def _matches(head: bytes) -> bool:
    """Section 0 comes first, and carries its name or points to itself at byte 7."""
    if len(head) < _HEADER:
        return False
    section, pointed, place = struct.unpack_from("<8xH12xH4xI", head)
    return section == 0 and (head[16:22] == b"SCPECG" or (pointed == 0 and place == 7))


def _rate(parsed: Any, lead: int) -> float:
    """The file states the interval between samples, in microseconds."""
    return 1e6 / float(parsed.raw_metadata["rhythm_sample_interval_us"])


def _problem(parsed: Any) -> str:
    late = [lead.label for lead in parsed.leads if "start_sample" in lead.annotations]
    return f"lead {late[0]} begins later than the others" if late else ""


FORMAT = Format(
    name="SCP-ECG",
    reader="scp_ecg",
    suffixes=(".scp", ".ecg"),
    matches=_matches,
    rate=_rate,
    problem=_problem,
)
