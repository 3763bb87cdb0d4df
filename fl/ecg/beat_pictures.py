"""Whole heartbeats, from half an interval before to half an interval after, for the beat7 task.

Source: Jun et al. 2018, arXiv:1804.06812, whose pictures of beats a network draws from these
examples (`fl.models.beat_picture`). The classes are PhysioNet's symbols: what the beat looks like,
not the groups of ANSI/AAMI EC57. Paced recordings stay in.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.ecg.beat_segments import annotated_beats
from fl.ecg.records import Annotations, Examples, Record
from fl.util.errors import UnusableRecord

# Normal; left and right bundle branch block; premature atrial and ventricular; paced;
# ventricular escape.
BEAT7_CLASSES = ("N", "L", "R", "A", "V", "/", "E")
# Lead II, and where it was not recorded V5: MIT-BIH's 102 and 104, two of its four paced
# recordings, have no MLII.
LEADS_IN_ORDER = ("II", "V5")
SAMPLES = 513  # of an example, whatever the heart rate: one on every edge of 512 equal steps
USUAL_SECONDS = 0.8  # of a beat at 75 per minute, which gives the examples a nominal rate
LONGEST_INTERVAL = 3.0  # s; of a longer one, as after beats that nobody marked, half of this is cut
FEWEST_BEATS = 3  # of a recording: the first and the last have one neighbour only
ENDS = "first or last"  # of a recording, in `left_out`


@dataclass(frozen=True, kw_only=True)
class WholeBeatMaker:
    """Makes an example of each annotated beat of the seven classes that has two neighbours."""

    def __call__(self, record: Record) -> Examples:
        """See `from_peaks`. Beats that get no example are those of `left_out`.

        Raises UnusableRecord for a recording without beat annotations, without lead II and V5,
        with fewer than three beats or without a beat of the seven classes.
        """
        if record.annotations is None:
            raise UnusableRecord(
                record.name, "no-annotation", "the beat7 task needs annotated beats"
            )
        peaks, symbols = annotated_beats(record.annotations)
        chosen = np.isin(symbols, BEAT7_CLASSES)
        if not chosen[1:-1].any():
            raise UnusableRecord(
                record.name,
                "no-annotation",
                f"no beat of the classes {' '.join(BEAT7_CLASSES)} between two others",
            )
        labels = (symbols[:, None] == np.array(BEAT7_CLASSES)).astype(np.int8)
        return self.from_peaks(record, peaks, labels, chosen)

    def from_peaks(
        self,
        record: Record,
        peaks: NDArray[np.int64],
        labels: NDArray[np.int8],
        chosen: NDArray[np.bool_] | None = None,
    ) -> Examples:
        """Examples of the chosen beats that have neighbours: see `beat_bounds` for their extent.

        `peaks` (beat,) are all R peaks of the recording, in samples, `labels` (beat, class), and
        `chosen` (beat,) the beats that become examples, all of them by default. The signal of an
        example (1, sample) is resampled to SAMPLES over the beat's whole extent, and scaled so
        that its range is exactly [-1, 1], as a plot with automatic axes does. A flat one is 0.
        """
        lead = record.signal[record.leads.index(lead_of(record))]
        bounds = beat_bounds(record, peaks)
        used = np.arange(1, len(peaks) - 1)
        if chosen is not None:
            used = used[chosen[1:-1]]
        start, end = bounds[used - 1].T[:, :, None]
        positions = start + (end - start) * (np.arange(SAMPLES) / (SAMPLES - 1))
        beats = np.interp(positions, np.arange(len(lead)), lead)
        return Examples(
            names=[f"{record.name}/{peak:06d}" for peak in peaks[used].tolist()],
            signals=list(_full_range(beats)[:, None]),
            leads=(0,),
            labels=labels[used],
            features=np.zeros((len(used), 0), dtype=np.float32),
        )


def lead_of(record: Record) -> str:
    """The lead that is read: II, else V5; `UnusableRecord` if neither was recorded."""
    for lead in LEADS_IN_ORDER:
        if lead in record.leads:
            return lead
    raise UnusableRecord(
        record.name,
        "lead-names",
        f"the beat7 task reads {' or else '.join(LEADS_IN_ORDER)}; found {', '.join(record.leads)}",
    )


def beat_bounds(record: Record, peaks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Start and end of each beat but the first and the last: (beat - 2, 2), in samples.

    A beat reaches from half of the interval before its R peak to half of the one after, and an
    interval counts as at most LONGEST_INTERVAL, so that a picture shows one beat. Raises
    UnusableRecord if there are fewer than three beats.
    """
    if len(peaks) < FEWEST_BEATS:
        raise UnusableRecord(
            record.name, "no-annotation", f"{len(peaks)} beats; at least {FEWEST_BEATS}"
        )
    half = np.minimum(np.diff(peaks), LONGEST_INTERVAL * record.fs) / 2
    return np.stack([peaks[1:-1] - half[:-1], peaks[1:-1] + half[1:]], axis=1)


def left_out(notes: Annotations) -> Counter[str]:
    """Annotated beats that get no example: by symbol, and under ENDS those without a neighbour."""
    _, symbols = annotated_beats(notes)
    counts = Counter(s for s in symbols.tolist() if s not in BEAT7_CLASSES)
    counts[ENDS] = int(np.isin(symbols[[0, -1]], BEAT7_CLASSES).sum()) if len(symbols) else 0
    return +counts


def _full_range(beats: NDArray[np.float64]) -> NDArray[np.float32]:
    """Each beat (beat, sample) with its lowest value at -1 and its highest at 1."""
    low, high = beats.min(axis=1, keepdims=True), beats.max(axis=1, keepdims=True)
    scaled = 2 * (beats - low) / np.where(high > low, high - low, 1.0) - 1
    return np.where(high > low, scaled, 0.0).astype(np.float32)
