"""Numbers about a recording's heartbeats and waves that accompany its signal.

Each is standardised with a fixed centre and unit: a federation has no common statistics, and fixed
numbers reveal nothing of a site. What cannot be known (no beats, a lead or a unit that is missing)
is 0, and a number beside it, `... known`, is 0 instead of 1.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fl.ecg.filters import Signal, bandpass, resample
from fl.ecg.records import LEADS, MILLIVOLTS, Record
from fl.ecg.rhythm.beat_scores import beat_measures
from fl.ecg.rhythm.intervals import interval_measures
from fl.ecg.rhythm.median_beat import TERMINAL_LEADS, median_beat, wave_measures
from fl.ecg.rhythm.r_peaks import main_lead, r_peaks

FEATURE_FS = 250.0  # Hz, at which beats and waves are measured
LIMIT = 4.0  # of a standardised number
GROUPS = ("rr", "beats", "waves", "amplitude")

# Centre and unit of each measure: round numbers near the median and the spread of CPSC2018.
_RR = {
    "heart rate": (4.4, 0.3),
    "rr variation": (-1.4, 0.4),
    "rr rmssd": (-1.4, 0.5),
    "rr changes": (0.2, 0.3),
    "rr early": (0.05, 0.1),
    "rr shortest": (-0.15, 0.2),
    "rr longest": (0.15, 0.2),
    "rr irregular": (-1.9, 0.4),
    "rr entropy": (-2.3, 0.7),
}
_BEATS = {
    **{f"{which} {name}": (-2.0, 3.0) for name in "SV" for which in ("highest", "second", "mean")},
    **{f"runs {name}": (0.05, 0.1) for name in "SV"},
}
_WAVES = {
    "QRS width": (100.0, 25.0),
    **{f"ST {lead}": (0.0, 0.1) for lead in LEADS},
    **{f"ST share {lead}": (0.0, 0.1) for lead in LEADS},
    **{f"terminal {lead}": (0.0, 0.25) for lead in TERMINAL_LEADS},
    **{f"area {lead}": (0.0, 0.25) for lead in TERMINAL_LEADS},
    "r' V1": (0.3, 0.3),
    "PR interval": (150.0, 40.0),
    "P height": (0.1, 0.1),
    "P alike": (0.6, 0.3),
}
_AMPLITUDE = {f"amplitude {lead}": (-1.6, 0.6) for lead in LEADS}
UNITS = {"rr": _RR, "beats": _BEATS, "waves": _WAVES, "amplitude": _AMPLITUDE}

# What each `... known` stands beside: it is 1 where the measure is known.
KNOWN = {
    "rr": {"rr known": "heart rate"},
    "beats": {"beats known": "highest S"},
    "waves": {
        "QRS known": "QRS width",
        **{f"ST {lead} known": f"ST {lead}" for lead in LEADS},
        **{f"ST share {lead} known": f"ST share {lead}" for lead in LEADS},
        "P known": "PR interval",
    },
    "amplitude": {f"amplitude {lead} known": f"amplitude {lead}" for lead in LEADS},
}


def feature_names(groups: Iterable[str]) -> tuple[str, ...]:
    """The names of the features of these groups, in the order of GROUPS."""
    chosen = set(groups)
    return tuple(
        name for group in GROUPS if group in chosen for name in (*UNITS[group], *KNOWN[group])
    )


def lead_of_feature(name: str) -> str:
    """The one lead that a feature is measured in; "" if it is measured in several."""
    last = name.removesuffix(" known").split()[-1]
    return last if last in LEADS else ""


@lru_cache(maxsize=16)
def lead_columns(names: tuple[str, ...]) -> NDArray[np.int64]:
    """The number of each feature's one lead, or 12 where it is measured in several: (feature,)."""
    leads = [lead_of_feature(name) for name in names]
    return np.array([LEADS.index(lead) if lead else len(LEADS) for lead in leads])


def of_leads(names: tuple[str, ...], recorded: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which features are known with these leads: (example, lead) -> (example, feature)."""
    return np.pad(recorded, ((0, 0), (0, 1)), constant_values=True)[:, lead_columns(names)]


def feature_rows(
    record: Record, parts: Sequence[tuple[float, float]], groups: Sequence[str]
) -> NDArray[np.float32]:
    """The features of parts of a recording, from and to in s: (part, feature), all finite.

    Each part is measured by itself, as if nothing else had been recorded.
    """
    rows = np.zeros((len(parts), len(feature_names(groups))), dtype=np.float32)
    if not groups:
        return rows
    for row, (begin, end) in zip(rows, parts, strict=True):
        cut = record.signal[:, round(begin * record.fs) : round(end * record.fs)]
        row[:] = standardised(
            measures(cut, record.leads, record.fs, groups, record.unit == MILLIVOLTS), groups
        )
    return rows


def standardised(found: dict[str, float], groups: Iterable[str]) -> NDArray[np.float32]:
    """Measures by name, some of them unknown, as features: (feature,)."""
    centres = {name: unit for group in GROUPS for name, unit in UNITS[group].items()}
    beside = {name: measure for group in GROUPS for name, measure in KNOWN[group].items()}
    values = []
    for name in feature_names(groups):
        if name in beside:
            values.append(float(beside[name] in found))
        elif name in found:
            centre, unit = centres[name]
            values.append(float(np.clip((found[name] - centre) / unit, -LIMIT, LIMIT)))
        else:
            values.append(0.0)
    return np.array(values, dtype=np.float32)


def measures(
    signal: Signal, leads: tuple[str, ...], fs: float, groups: Iterable[str], millivolts: bool
) -> dict[str, float]:
    """What can be measured in a recording (lead, sample), by name, in the units of `UNITS`."""
    filtered = bandpass(resample(signal, fs, FEATURE_FS), FEATURE_FS)
    chosen = set(groups)
    found: dict[str, float] = {}
    if "amplitude" in chosen and millivolts:
        spread = filtered.std(axis=1)
        found |= {
            f"amplitude {lead}": float(np.log(value))
            for lead, value in zip(leads, spread, strict=True)
            if value > 0
        }
    if not chosen & {"rr", "beats", "waves"}:
        return found
    peaks = r_peaks(filtered, leads, FEATURE_FS)
    if "rr" in chosen:
        found |= interval_measures(peaks / FEATURE_FS)
    if "beats" in chosen:
        lead = main_lead(leads)
        found |= beat_measures(filtered[lead : lead + 1], FEATURE_FS, peaks)
    if "waves" in chosen and (beat := median_beat(filtered, leads, FEATURE_FS, peaks)) is not None:
        found |= wave_measures(beat, leads, millivolts)
    return found
