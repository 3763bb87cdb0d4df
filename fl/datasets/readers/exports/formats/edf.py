"""EDF (Kemp et al. 1992, 10.1016/0013-4694(92)90009-7) and EDF+ (10.1016/S1388-2457(03)00123-8)."""

from typing import Any

from fl.datasets.readers.exports.formats.format import Format


def _matches(head: bytes) -> bool:
    return head[:8] == b"0       " and len(head) >= 256 and head[252:256].strip().isdigit()


def _rate(parsed: Any, lead: int) -> float:
    """Samples per second of the file's data records, which need not be a whole number."""
    found = parsed.leads[lead]
    exact = parsed.raw_metadata.get("exact_sampling_rates", {})
    return float(exact.get(found.label, found.sampling_rate))


FORMAT = Format(name="EDF", reader="edf", suffixes=(".edf",), matches=_matches, rate=_rate)
