"""The leads of a file in a hospital's format, after everything that it states was checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.exports.formats.content import kind_of
from fl.datasets.readers.exports.formats.format import Format
from fl.datasets.readers.exports.formats.library import parse
from fl.datasets.readers.header_text import MILLIVOLTS_PER
from fl.datasets.readers.own_files import require_file
from fl.datasets.readers.wfdb_signals import MIN_SECONDS, Waveform
from fl.ecg.quality import usable_leads
from fl.ecg.records import LEADS, MILLIVOLTS, lead_name
from fl.util.errors import UnusableRecord

LIMB_LEADS = ("III", "aVR", "aVL", "aVF")
EIGHT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The leads of one file, with gaps and unusable leads as they are stored."""

    name: str
    signals: dict[str, NDArray[np.float64]]  # mV by lead (sample,), in the order of LEADS
    steps: dict[str, float]  # mV of one step of the recorder's numbers, by lead
    fs: float  # Hz
    derived: tuple[str, ...]  # leads that follow from I and II and are not stored
    unknown: tuple[str, ...]  # names of what is no lead of the twelve, and is not read
    notes: tuple[str, ...]  # what else to say of the file

    def waveform(self, unit: str = MILLIVOLTS) -> Waveform:
        """The usable leads; `UnusableRecord` if there is none, or if they are no heart's.

        The height of the QRS complexes is not asked where `unit` is NU.
        """
        samples = {lead: stored.astype(np.float32) for lead, stored in self.signals.items()}
        usable = usable_leads(
            self.name, self.signals, samples, self.fs, millivolts=unit == MILLIVOLTS
        )
        return Waveform(
            signal=usable.signal,
            leads=usable.leads,
            dropped=usable.dropped,
            fs=self.fs,
            comments=(),
            notes=self._all_notes(),
        )

    def _all_notes(self) -> tuple[str, ...]:
        notes = list(self.notes)
        if self.derived:
            notes.append(f"{', '.join(self.derived)} were computed from I and II")
        if self.unknown:
            some = ", ".join(self.unknown[:12])
            notes.append(f"signals that are no lead of the twelve, not read: {some}")
        return tuple(notes)


def read_hospital_file(path: Path, name: str, ignore_checksums: bool = False) -> Waveform:
    """The usable leads of a file, in mV, and nothing of the patient; see `read_recording`."""
    return read_recording(path, name, ignore_checksums)[0].waveform()


def read_recording(path: Path, name: str, ignore_checksums: bool = False) -> tuple[Recording, Any]:
    """The recording in a file, and the library's record, which carries the patient's fields.

    Raises `UnusableRecord` with the verdict if it cannot be used.
    """
    require_file(path, name)
    try:
        kind = kind_of(path)
    except OSError as error:
        raise UnusableRecord(name, "missing-file", f"{path.name}: {error.strerror}") from None
    if not isinstance(kind, Format):
        found = "text" if kind is None else kind.name
        raise UnusableRecord(name, "bad-signal", f"{path.name} is {found}, not a recording")
    parsed, notes = parse(path, name, kind, ignore_checksums)
    return _checked(parsed, name, kind, notes), parsed


def _checked(parsed: Any, name: str, kind: Format, notes: tuple[str, ...]) -> Recording:
    """The leads of the twelve, in mV and of one rate and length."""
    places, unknown = _places([lead.label for lead in parsed.leads], name, kind)
    problem = kind.problem(parsed)
    if problem:
        raise UnusableRecord(name, "bad-signal", problem)
    leads = {lead: parsed.leads[place] for lead, place in places.items()}
    fs = _rate({kind.rate(parsed, place) for place in places.values()}, name)
    for lead, found in leads.items():
        if found.is_raw or found.units != "mV":
            raise UnusableRecord(
                name, "bad-header", f"lead {lead} has no unit of voltage, so that mV are unknown"
            )
    lengths = {len(found.samples) for found in leads.values()}
    if len(lengths) > 1:
        raise UnusableRecord(name, "truncated", "its leads differ in length")
    if lengths.pop() < MIN_SECONDS * fs:
        seconds = len(next(iter(leads.values())).samples) / fs
        raise UnusableRecord(name, "too-short", f"{seconds:.1f} s; at least {MIN_SECONDS:g} s")
    signals = {lead: np.asarray(found.samples, dtype=np.float64) for lead, found in leads.items()}
    steps = {lead: _step(found) for lead, found in leads.items()}
    derived = _derive(signals, steps)
    order = [lead for lead in LEADS if lead in signals]
    return Recording(
        name=name,
        signals={lead: signals[lead] for lead in order},
        steps={lead: steps[lead] for lead in order},
        fs=fs,
        derived=derived,
        unknown=unknown,
        notes=notes,
    )


def _places(labels: list[str], name: str, kind: Format) -> tuple[dict[str, int], tuple[str, ...]]:
    """Place of each known lead, by its name and never by its position; the names of the others."""
    places: dict[str, int] = {}
    unknown = []
    for place, label in enumerate(labels):
        # The library names a second lead II `II_2`.
        base, _, number = label.rpartition("_")
        lead = lead_name(base if base and number.isdigit() else label)
        if lead is None:
            unknown.append(label[:20] if label.isascii() and label.isprintable() else "unreadable")
        elif lead in places:
            raise UnusableRecord(name, "lead-names", f"lead {lead} is named twice")
        else:
            places[lead] = place
    if not places:
        what = ", ".join(unknown[:12]) or "it has a median beat alone, or no signal"
        raise UnusableRecord(
            name, "lead-names", f"{kind.name}: no rhythm with the name of a lead: {what}"
        )
    return places, tuple(unknown)


def _rate(rates: set[float], name: str) -> float:
    if len(rates) > 1:
        raise UnusableRecord(name, "bad-header", "leads of different rates are not read")
    fs = rates.pop()
    if not 0 < fs < 1e6:
        raise UnusableRecord(name, "bad-header", f"its sampling rate is {fs:g} Hz")
    return float(round(fs)) if abs(fs - round(fs)) < 1e-6 * fs else fs


def _step(lead: Any) -> float:
    """mV of one step of the stored numbers; 0 where it is not known."""
    return abs(float(lead.resolution)) * MILLIVOLTS_PER.get(lead.resolution_unit, 0.0)


def _derive(signals: dict[str, NDArray[np.float64]], steps: dict[str, float]) -> tuple[str, ...]:
    """Add the limb leads to a file that stores eight leads, and return their names.

    Recorders that store eight of the twelve leave out those that follow from I and II: III is
    II - I (Einthoven); aVR, aVL and aVF are Goldberger's (1942, 10.1016/S0002-8703(42)90340-6).
    """
    if any(lead in signals for lead in LIMB_LEADS) or not set(EIGHT_LEADS) <= signals.keys():
        return ()
    one, two = signals["I"], signals["II"]
    signals["III"] = two - one
    signals["aVR"] = -(one + two) / 2
    signals["aVL"] = one - two / 2
    signals["aVF"] = two - one / 2
    step = steps["I"] if steps["I"] == steps["II"] else 0.0
    for lead in LIMB_LEADS:
        steps[lead] = step if lead == "III" else step / 2
    return LIMB_LEADS
