"""DICOM waveforms (NEMA PS3.3, C.10.9). Of several multiplex groups the rhythm is read.

The library takes the first group that is no median beat.
"""

from typing import Any

from fl.datasets.readers.exports.formats.format import Format


def _matches(head: bytes) -> bool:
    return head[128:132] == b"DICM"


def _rate(parsed: Any, lead: int) -> float:
    """The group's rate as it is stated; the library rounds it to whole Hz."""
    found = parsed.leads[lead]
    for group in parsed.raw_metadata["multiplex_groups"]:
        exact = float(group["sampling_frequency"])
        same = round(exact) == found.sampling_rate and group["samples"] == len(found.samples)
        if same and group["channels"] == len(parsed.leads):
            return exact
    return float(found.sampling_rate)


FORMAT = Format(
    name="DICOM",
    reader="dicom_waveform",
    suffixes=(".dcm", ".dicom"),
    matches=_matches,
    rate=_rate,
)
