"""A recording, its leads, its annotations and the examples made of it: shapes and units."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.ecg.labels import UNKNOWN

MILLIVOLTS, NO_UNIT = "mV", "NU"  # `Record.unit`
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# Holter recorders name a lead by its electrode; "modified lead II" is closest to II.
LEAD_ALIASES = {"MLII": "II", "ML2": "II", "MLI": "I", "MLIII": "III"}

_STANDARD = {lead.upper(): lead for lead in LEADS}
# Before a lead's name: `Lead II`, `ECG_V1`, `MDC_ECG_LEAD_aVR` (ISO/IEEE 11073-10101). A hyphen may
# stand there too, but not before aVR, as -aVR is a lead of its own (turned over).
_SPELLED = re.compile(
    r"(?:(?:MDC[ _])?(?:ECG|EKG)?[ _]?(?:LEAD|ELEC[ _]POTL)?(?:(?<=[A-Z])(?:[ _:]*|-(?!A)))?)"
    r"(?P<name>I{1,3}|D ?_?(?:I{1,3}|[123])|A[ _]?V[ _]?[RLF]|[VC][ _]?[1-6]|ML[ _]?(?:I{1,3}|2))"
)


def lead_name(raw: str) -> str | None:
    """Standard name of a lead as a header spells it (`MLII`, `avr`); None if it is not a lead.

    Read are any case, `Lead`, `ECG` or `MDC_ECG_LEAD_` before the name, blanks and underscores,
    DI to DIII and D1 to D3 for I to III, C1 to C6 for V1 to V6. None is a name with anything else
    in it: `I-II` and `-aVR` are other signals.
    """
    match = _SPELLED.fullmatch(raw.strip().upper())
    if match is None:
        return None
    key = re.sub("[ _]", "", match["name"])
    if key.startswith("D"):
        key = {"1": "I", "2": "II", "3": "III"}.get(key[1:], key[1:])
    elif key.startswith("C"):
        key = f"V{key[1:]}"
    return _STANDARD.get(LEAD_ALIASES.get(key, key).upper())


def is_unnamed_ecg(raw: str) -> bool:
    """Whether a signal is named as an ECG without saying of which lead."""
    return raw.strip().upper() in ("ECG", "EKG")


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Beat and rhythm annotations of a recording, in order of time.

    Symbols and rhythm strings are PhysioNet's (`N`, `V`, ...; `(AFIB`, `(N`, ...).
    """

    samples: NDArray[np.int64]  # (annotation,) sample number at the recording's own rate
    symbols: tuple[str, ...]  # (annotation,) e.g. "N", "V", "+", "~"
    rhythms: tuple[str, ...]  # (annotation,) the rhythm that starts here, or ""


@dataclass(frozen=True, kw_only=True)
class CutBeats:
    """Where single heartbeats, which somebody cut out of recordings, lie in one signal."""

    starts: NDArray[np.int64]  # (beat,) first sample
    ends: NDArray[np.int64]  # (beat,) one past the last sample that is no padding
    missing: NDArray[np.bool_]  # (beat,) whether samples of it are missing; they are 0
    lines: tuple[int, ...]  # (beat,) of the table; empty if the whole table is one beat


@dataclass(frozen=True, kw_only=True)
class Record:
    """One recording of one patient as its source delivers it, in mV at its own rate."""

    source: str
    name: str  # record id, unique within the source
    patient: str  # patient id, unique within the source
    signal: NDArray[np.float32]  # (lead, sample) mV; NU (own peak = 1) where the source lost mV
    leads: tuple[str, ...]  # (lead,) names from LEADS
    fs: float  # Hz
    labels: NDArray[np.int8] | None  # (rhythm class,) 1 yes, 0 no, -1 not annotated;
    #   None where moments of the recording are labelled instead: see `annotations`
    annotations: Annotations | None = None
    first_label: str = ""  # the source's own first label, where the source ranks them
    group: str = ""  # recorder, hospital or device, where the source names it
    age: float | None = None  # years
    sex: str = ""  # "F", "M" or "" where unknown
    # Myocardial infarction: 1 yes, 0 no, UNKNOWN, or DOUBTFUL (of `fl.ecg.labels`)
    infarction: int = UNKNOWN
    unit: str = MILLIVOLTS  # of `signal`; NO_UNIT where the source lost mV
    other_codes: tuple[str, ...] = ()  # diagnosis codes of none of the classes, as written
    notes: tuple[str, ...] = ()  # what its files left open or had wrong, and how it was read
    # Of single heartbeats one after the other, which are no recording; None of a recording.
    cut_beats: CutBeats | None = None


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The examples that a task makes of one recording, in order of time."""

    names: list[str]  # (example,) unique within the source
    signals: list[NDArray[np.float32]]  # (example,) of (recorded lead, sample), normalised
    leads: tuple[int, ...]  # (recorded lead,) index among the task's leads
    labels: NDArray[np.int8]  # (example, class)
    features: NDArray[np.float32]  # (example, feature)
    # (example, feature) the same with R peaks as a detector would find them; None if there are none
    detector_features: NDArray[np.float32] | None = None
    without_example: int = 0  # beats that were found and gave no example
