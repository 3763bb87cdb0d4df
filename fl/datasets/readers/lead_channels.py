"""Which signal of a header is which lead: by its name, and never by its position."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fl.ecg.records import LEADS, is_unnamed_ecg, lead_name
from fl.util.errors import UnusableRecord

UNNAMED_NOTE = "its one signal is named ECG, which names no lead; it is taken as lead I"
_MOST_SHOWN = 12
_BARE_C = re.compile(r"C ?_?[1-6]", re.IGNORECASE)
# Other electrodes of the 10-20 and 10-10 systems, and what names an EEG or an EOG itself.
_EEG = re.compile(r"(EEG|EOG|CZ|(FP|AF|F|FC|FT|T|TP|CP|P|PO|O|A|M)(\d{1,2}|Z))\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LeadChannels:
    """The signals of a header that are leads, and what is to be noted about the others."""

    channels: dict[str, int]  # lead -> number of its signal, in the order of LEADS
    notes: tuple[str, ...]


def lead_channels(stated: Sequence[str], lead_two: str, name: str) -> LeadChannels:
    """The signals of the known leads. `lead_two` is a name that stands for lead II.

    A single signal `ECG` is lead I, as hand-held and patch recorders write it (Clifford et al.
    2017, 10.22489/CinC.2017.065-469). `UnusableRecord` if there is no lead, or one has two signals.
    """
    names = ["II" if raw and raw == lead_two else raw for raw in stated]
    leads = [lead_name(raw) for raw in names]
    if not _chest_by_c(names, leads):
        leads = [
            None if _BARE_C.fullmatch(raw.strip()) else lead
            for raw, lead in zip(names, leads, strict=True)
        ]
    notes = []
    unnamed = [i for i, raw in enumerate(names) if is_unnamed_ecg(raw)]
    if not any(leads) and len(unnamed) == 1:
        leads[unnamed[0]] = "I"
        notes.append(UNNAMED_NOTE)
    channels: dict[str, int] = {}
    for i, lead in enumerate(leads):
        if lead is None:
            continue
        if lead in channels:
            raise UnusableRecord(name, "lead-names", f"lead {lead} is named twice")
        channels[lead] = i
    unknown = [raw for raw, lead in zip(stated, leads, strict=True) if lead is None]
    if not channels:
        raise UnusableRecord(
            name,
            "lead-names",
            f"{len(stated)} signals, none with the name of a lead: {_shown(unknown)}; known: "
            f"{', '.join(LEADS)} and their synonyms (docs/data.md)",
        )
    if unknown:
        notes.append(f"signals that are no lead of the twelve, not read: {_shown(unknown)}")
    return LeadChannels(
        channels={lead: channels[lead] for lead in LEADS if lead in channels}, notes=tuple(notes)
    )


def _chest_by_c(names: Sequence[str], leads: Sequence[str | None]) -> bool:
    """Whether C1 to C6 are chest leads here: C3 and C4, or all six, may be electrodes of an EEG.

    They are beside another lead or as all six, if no other signal is one of an EEG.
    """
    chest = {raw.strip().upper() for raw in names if _BARE_C.fullmatch(raw.strip())}
    others = any(
        lead and not _BARE_C.fullmatch(raw.strip()) for raw, lead in zip(names, leads, strict=True)
    )
    if any(_EEG.match(raw.strip()) for raw in names) or chest <= {"C3", "C4"}:
        return False
    return others or len(chest) == 6


def _shown(names: Sequence[str]) -> str:
    """The names as an error or a note may show them."""
    found = [raw[:20] if raw.isprintable() else "something unreadable" for raw in names]
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return ", ".join(raw or "(no name)" for raw in found[:_MOST_SHOWN]) + more
