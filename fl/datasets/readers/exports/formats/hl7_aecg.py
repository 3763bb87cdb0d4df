"""HL7 annotated ECG (ANSI/HL7 V3 ECG, R1-2004). Of several series the first rhythm is read."""

from typing import Any

from fl.datasets.readers.exports.formats.format import Format
from fl.datasets.readers.exports.formats.xml_root import root_of


def _rate(parsed: Any, lead: int) -> float:
    """The file states the interval between samples."""
    return float(parsed.raw_metadata["rhythm_time"]["sampling_rate_exact"])


FORMAT = Format(
    name="HL7 aECG",
    reader="hl7_aecg",
    suffixes=(".xml",),
    matches=lambda head: root_of(head) == "AnnotatedECG",
    rate=_rate,
)
