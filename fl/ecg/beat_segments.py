"""Which beats of a recording are used, and how much signal around each R peak."""

import numpy as np
from numpy.typing import NDArray

from fl.ecg.labels import AAMI
from fl.ecg.records import Annotations, Record
from fl.util.errors import UnusableRecord

BEAT_FS = 180.0  # Hz, half of MIT-BIH's rate
BEAT_BEFORE, BEAT_AFTER = 48, 80  # samples: 0.27 s include the P wave, 0.44 s the T wave
NETWORK_FS = 90.0  # Hz; with every second sample a network of the same size did as well
PACED_BEATS = frozenset("/f")


def annotated_beats(notes: Annotations) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Samples and symbols of the annotated beats: (beat,), (beat,). Other marks are left out."""
    symbols = np.array(notes.symbols)
    is_beat = np.isin(symbols, list(AAMI))
    return notes.samples[is_beat], symbols[is_beat]


def reject_paced(name: str, notes: Annotations) -> None:
    """`UnusableRecord` if any beat is paced: ANSI/AAMI EC57 leaves such recordings out."""
    paced = sum(symbol in PACED_BEATS for symbol in notes.symbols)
    if paced:
        raise UnusableRecord(name, "paced", f"{paced} paced beats")


def require_lead_two(record: Record) -> None:
    """`UnusableRecord` if lead II, which the beat task reads, is missing."""
    if "II" not in record.leads:
        raise UnusableRecord(
            record.name, "lead-names", f"the beat task reads II; found {', '.join(record.leads)}"
        )
