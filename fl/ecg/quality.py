"""Whether a lead has a usable signal, and how its gaps are filled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.util.errors import UnusableRecord

BAD_SHARE = 0.05  # a lead with more missing or clipped samples than this is dropped
FLAT_SECONDS = 1.0  # a heart gives no equal samples for so long; a loose electrode does
QRS_HEIGHT = 0.05, 20.0  # mV; 0.3 to 3 in recordings, as the median of their leads
PLATEAU = 3  # samples in a row at an extreme; a tone reaches its own extreme for one or two


def has_signal(stored: NDArray[Any], samples: NDArray[np.float32]) -> bool:
    """Whether a lead has a usable signal: not flat, not clipped, and at most 5% missing."""
    return not lack_of_signal(stored, samples)


def lack_of_signal(
    stored: NDArray[Any], samples: NDArray[np.float32], fs: float | None = None
) -> str:
    """Why a lead has no usable signal: "missing", "flat" or "clipped"; "" if it has one.

    `stored` (sample,) are the stored numbers, whose extremes show clipping; `samples` (sample,)
    the values in mV, nan where a sample is missing. With `fs` (Hz), a lead is flat too if it stays
    at one value for more than 5% of the time, in stretches of FLAT_SECONDS or more.
    """
    present = np.isfinite(samples)
    if 1 - present.mean() > BAD_SHARE:
        return "missing"
    if not present.all():
        stored = stored[present]
    low, high = stored.min(), stored.max()
    if low == high:
        return "flat"
    if fs is not None and flat_share(stored, fs) > BAD_SHARE:
        return "flat"
    at_rail = max(_share_in_plateaus(stored == extreme) for extreme in (low, high))
    return "clipped" if at_rail > BAD_SHARE else ""


@dataclass(frozen=True, kw_only=True)
class UsableLeads:
    """The leads of a recording that have a usable signal, and the others."""

    signal: NDArray[np.float32]  # (lead, sample), without gaps
    leads: tuple[str, ...]
    dropped: tuple[str, ...]


def usable_leads(
    name: str,
    stored: Mapping[str, NDArray[Any]],
    samples: Mapping[str, NDArray[np.float32]],
    fs: float,
    millivolts: bool,
) -> UsableLeads:
    """The leads with a usable signal: see `lack_of_signal`. Gaps are filled in place.

    Where the unit is mV, a lead is left out whose QRS complexes are higher than a heart's.
    Raises `UnusableRecord` for the recording `name` if no lead is left, or if the median QRS height
    of the leads is none that a heart gives, which shows a wrong unit or gain.
    """
    smallest, largest = QRS_HEIGHT
    kept, lacks, heights = {}, {}, []
    for lead, values in samples.items():
        lack = lack_of_signal(stored[lead], values, fs)
        if not lack:
            filled = fill_gaps(values)
            heights.append(qrs_height(filled, fs))
            if not millivolts or heights[-1] <= largest:
                kept[lead] = filled
                continue
            lack = f"QRS height {heights[-1]:.3g} mV"
        lacks[lead] = lack
    if heights and millivolts and not smallest <= (height := float(np.median(heights))) <= largest:
        raise UnusableRecord(
            name,
            "amplitude",
            f"median QRS height {height:.3g} mV; {smallest:g} to {largest:g} mV is accepted. "
            "Correct the gain and the unit in the file",
        )
    if not kept:
        detail = ", ".join(f"{lead} {lack}" for lead, lack in lacks.items())
        raise UnusableRecord(name, "no-signal", detail)
    return UsableLeads(
        signal=np.stack(list(kept.values())), leads=tuple(kept), dropped=tuple(lacks)
    )


def flat_share(stored: NDArray[Any], fs: float) -> float:
    """The share of the samples in stretches of equal ones of FLAT_SECONDS or more, at `fs` Hz."""
    changes = np.flatnonzero(stored[1:] != stored[:-1])
    lengths = np.diff(changes, prepend=-1, append=len(stored) - 1)
    return float(lengths[lengths >= FLAT_SECONDS * fs].sum() / len(stored))


def qrs_height(samples: NDArray[np.float32], fs: float) -> float:
    """The height of a lead's QRS complexes (sample,) in its own unit: their median.

    Of every 2 s, the largest change within 40 ms: a QRS complex is that fast, and baseline wander
    is not. 0 for a lead of less than 2 s.
    """
    step, window = max(1, round(0.04 * fs)), round(2 * fs)
    changes = np.abs(samples[step:] - samples[:-step])
    whole = len(changes) // window * window
    if not whole:
        return 0.0
    return float(np.median(changes[:whole].reshape(-1, window).max(axis=1)))


def _share_in_plateaus(at_extreme: NDArray[np.bool_]) -> float:
    """The share of the samples that are at an extreme for PLATEAU samples or more in a row."""
    edges = np.flatnonzero(np.diff(at_extreme.astype(np.int8), prepend=0, append=0))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= PLATEAU].sum() / len(at_extreme))


def fill_gaps(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The lead (sample,) with its missing samples (nan) replaced by straight lines, in place."""
    gaps = ~np.isfinite(samples)
    if not gaps.any():
        return samples
    positions = np.arange(len(samples))
    samples[gaps] = np.interp(positions[gaps], positions[~gaps], samples[~gaps])
    return samples
