"""Beats cut as by Kachuee et al. 2018, arXiv:1805.00794, of known and of unknown R peaks.

Lead II at 125 Hz, windows of 10 s, amplitude from 0 to 1 in each window, the median R-R interval T
of the window, and a cut of 1.2 T from each R peak on, with zeros up to 187 samples. We differ in
four things:

- R peaks are annotated ones, or those that `find_r_peaks` finds. The paper takes every local
  maximum above 0.9 of the window: on MIT-BIH's DS1, in windows of 10 s, that finds 58% of a
  patient's beats (9% in the worst patient; 65% after our filter), `find_r_peaks` 99% (92%), of
  which 99% are beats. XQRS of wfdb, which needs more than 10 s to settle, finds 97%, of which 96%.
- The signal is filtered from 0.5 to 40 Hz. Without it, baseline wander sets the scale of a window.
- A cut may run on into the next window, in the scale of its own one and clipped to 0 and 1.
  Otherwise the last beat of every window would be lost.
- A cut longer than 187 samples (below 48 beats per minute) ends there. Leaving it out would leave
  out everybody with a slow heart.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fl.ecg.beat_segments import annotated_beats, reject_paced, require_lead_two
from fl.ecg.filters import bandpass, resample, zscore
from fl.ecg.labels import AAMI, BEAT_CLASSES, DOUBTFUL, INFARCTION_CLASSES, UNKNOWN
from fl.ecg.qrs_detection import ENERGY_FS, Peaks, find_r_peaks
from fl.ecg.records import Examples, Record
from fl.ecg.rhythm.windows import filter_recording, lead_indices
from fl.util.errors import UnusableRecord

CUT_FS = ENERGY_FS  # Hz
CUT_SAMPLES = 187  # 1.5 s
WINDOW_SECONDS = 10.0
CUT_INTERVALS = 1.2  # length of a cut in median R-R intervals

# Of beats that came cut out.
SHORTEST_CUT = 0.3  # s: the cut of a beat at 240 per minute
# A cut that begins at an R peak is steep at once. With these, 99.9% of a DS1 patient's cuts are
# taken for such (worst patient 99.5%; V 99.7%), and 5% of cuts that begin 0.27 s before (42%).
AT_R_PEAK = 0.056  # s from the beginning of a cut
STEEP = 0.15  # of its largest slope

Cuts = NDArray[np.float32]


def lead_for_cuts(record: Record) -> NDArray[np.float32]:
    """Lead II at 125 Hz without baseline wander: (sample,) mV.

    Raises UnusableRecord without lead II.
    """
    require_lead_two(record)
    lead = record.signal[[record.leads.index("II")]]
    return np.asarray(bandpass(resample(lead, record.fs, CUT_FS), CUT_FS)[0])


def cut_beats(lead: NDArray[np.float32], peaks: Peaks) -> tuple[Cuts, NDArray[np.bool_]]:
    """A cut from each R peak on, and whether it lies inside the recording: (beat, 187), (beat,).

    `lead` (sample,) and `peaks` (beat,), in samples, are at 125 Hz. A cut that runs past the end of
    the recording has zeros there. In a window with fewer than two R peaks, T is that of the
    recording. Raises ValueError with fewer than two R peaks in all.
    """
    if len(peaks) < 2:
        raise ValueError(f"{len(peaks)} R peaks; an interval needs two")
    window = np.minimum(peaks // round(WINDOW_SECONDS * CUT_FS), _windows(len(lead)) - 1)
    cuts = np.zeros((len(peaks), CUT_SAMPLES), dtype=np.float32)
    whole = np.zeros(len(peaks), dtype=bool)
    for number in np.unique(window):
        inside = np.flatnonzero(window == number)
        low, scale = _scale(lead, int(number))
        intervals = np.diff(peaks[inside] if len(inside) > 1 else peaks)
        wanted = round(CUT_INTERVALS * float(np.median(intervals)))
        length = min(wanted, CUT_SAMPLES)
        for beat in inside:
            part = lead[peaks[beat] : peaks[beat] + length]
            cuts[beat, : len(part)] = ((part - low) / scale).clip(0, 1)
            whole[beat] = len(part) == length
    return cuts, whole


def given_cuts(record: Record) -> tuple[Cuts, tuple[str, ...]]:
    """Heartbeats that came cut out, as the task has them: (beat, 187), and why one has no answer.

    The reasons (beat,) are "" for a beat that can be answered. A beat must begin at its R peak, as
    `cut_beats` cuts it. Values from 0 to 1 stay as they are; others are scaled to the smallest and
    the largest of the beat, as the window around it is not known. Raises UnusableRecord without
    lead II.
    """
    require_lead_two(record)
    beats = record.cut_beats
    assert beats is not None
    lead = record.signal[record.leads.index("II")]
    cuts = np.zeros((len(beats.starts), CUT_SAMPLES), dtype=np.float32)
    reasons = []
    bounds = zip(beats.starts.tolist(), beats.ends.tolist(), strict=True)
    for beat, (start, end) in enumerate(bounds):
        part = _between_0_and_1(lead[start:end])
        if len(part):
            part = resample(part[None], record.fs, CUT_FS)[0].clip(0, 1)
        reason = "samples of it are missing" if beats.missing[beat] else _not_a_cut(part)
        reasons.append(reason)
        if not reason:
            cuts[beat, : len(part)] = part[:CUT_SAMPLES]
    return cuts, tuple(reasons)


def _between_0_and_1(part: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(part.min(initial=0.0)), float(part.max(initial=0.0))
    if low >= 0 and high <= 1:
        return part
    low, high = float(part.min()), float(part.max())
    span = high - low if high > low else 1.0
    return ((part.astype(np.float64) - low) / span).astype(np.float32)


def _not_a_cut(part: NDArray[np.float32]) -> str:
    """Why samples at `CUT_FS`, from 0 to 1, are not as `cut_beats` cuts a beat; "" if they are."""
    if len(part) < SHORTEST_CUT * CUT_FS:
        return f"it has {len(part) / CUT_FS:.2f} s of signal; at least {SHORTEST_CUT} s"
    slopes = np.abs(np.diff(part))
    if not slopes.any():
        return "its signal is flat"
    if slopes[: round(AT_R_PEAK * CUT_FS)].max() < STEEP * slopes.max():
        return "it does not begin at its R peak, as the task has it"
    return ""


def _windows(samples: int) -> int:
    """Windows of a recording; a last part of less than 10 s belongs to the one before it."""
    return max(1, samples // round(WINDOW_SECONDS * CUT_FS))


def _scale(lead: NDArray[np.float32], number: int) -> tuple[float, float]:
    """Smallest value and span of a window: what makes its amplitude go from 0 to 1."""
    size = round(WINDOW_SECONDS * CUT_FS)
    last = number == _windows(len(lead)) - 1
    part = lead[number * size : len(lead) if last else (number + 1) * size]
    low, high = float(part.min()), float(part.max())
    return low, high - low if high > low else 1.0


@dataclass(frozen=True, kw_only=True)
class PlainBeatMaker:
    """Beats of a recording as cuts of lead II and nothing else: no features, no other beat."""

    detector: str = ""  # name in DETECTORS; "" takes the R peaks from the annotations

    def __call__(self, record: Record) -> Examples:
        """One example per annotated beat, with its AAMI class.

        Raises UnusableRecord for a recording without beat annotations, with paced beats, without
        lead II or with fewer than two beats.
        """
        if record.annotations is None:
            raise UnusableRecord(record.name, "no-annotation", "the task needs annotated beats")
        reject_paced(record.name, record.annotations)
        peaks, symbols = annotated_beats(record.annotations)
        classes = [BEAT_CLASSES.index(AAMI[s]) for s in symbols.tolist()]
        return self.from_peaks(record, peaks, np.eye(len(BEAT_CLASSES), dtype=np.int8)[classes])

    def from_peaks(self, record: Record, peaks: Peaks, labels: NDArray[np.int8]) -> Examples:
        """Examples of beats whose R peaks (beat,), in samples, and labels (beat, class) are known.

        The last beat of a recording has zeros where the recording ends.
        """
        if len(peaks) < 2:
            raise UnusableRecord(record.name, "no-annotation", f"{len(peaks)} beats; at least 2")
        lead = lead_for_cuts(record)
        cuts, _ = cut_beats(lead, _at_cut_rate(peaks, record.fs, len(lead)))
        return Examples(
            names=[f"{record.name}/{peak:06d}" for peak in peaks.tolist()],
            signals=list(cuts[:, None]),
            leads=(0,),
            labels=labels,
            features=np.zeros((len(peaks), 0), dtype=np.float32),
        )


def _at_cut_rate(peaks: Peaks, fs: float, samples: int) -> Peaks:
    return np.asarray(np.rint(peaks * (CUT_FS / fs)).astype(np.int64).clip(0, samples - 1))


def require_infarction_label(record: Record) -> NDArray[np.int8]:
    """The label of a recording: (1, class) 1 or 0. `UnusableRecord` if it is not known."""
    if record.infarction == DOUBTFUL:
        raise UnusableRecord(record.name, "doubtful-infarction", "likelihood below 50")
    if record.infarction == UNKNOWN:
        raise UnusableRecord(record.name, "no-infarction-label", "another diagnosis, or none")
    return np.full((1, len(INFARCTION_CLASSES)), record.infarction, dtype=np.int8)


def infarction_beats(record: Record) -> Examples:
    """All beats of a recording as one example: lead II's cuts one after the other, (1, K * 187).

    The recording is what has a label, so it is the example, and its beats are counted nowhere.
    Raises UnusableRecord without a label, without lead II or without a whole beat.
    """
    labels = require_infarction_label(record)
    _, cuts, lost = _detected_cuts(record)
    return _as_example(record.name, cuts, lost, labels)


def infarction_parts(record: Record, parts: list[tuple[float, float]]) -> list[Examples | None]:
    """The beats of parts of a recording that nobody has labelled, from and to in seconds.

    None for a part without a whole beat. Raises UnusableRecord without lead II or without any.
    """
    peaks, cuts, _ = _detected_cuts(record)
    labels = np.full((1, len(INFARCTION_CLASSES)), UNKNOWN, dtype=np.int8)
    found: list[Examples | None] = []
    for begin, end in parts:
        name = f"{record.name}/{begin:04.0f}s" if len(parts) > 1 else record.name
        inside = cuts[(peaks >= begin * CUT_FS) & (peaks < end * CUT_FS)]
        found.append(_as_example(name, inside, 0, labels) if len(inside) else None)
    return found


def joined_examples(parts: list[Examples]) -> Examples:
    """The examples of several parts of a recording as those of one. There must be a part."""
    return replace(
        parts[0],
        names=[name for part in parts for name in part.names],
        signals=[signal for part in parts for signal in part.signals],
        labels=np.concatenate([part.labels for part in parts]),
        features=np.concatenate([part.features for part in parts]),
        without_example=sum(part.without_example for part in parts),
    )


def whole_cut_peaks(record: Record) -> Peaks:
    """The R peaks whose cuts `infarction_beats` puts one after the other: (cut,) at `CUT_FS`."""
    return _detected_cuts(record)[0]


def _detected_cuts(record: Record) -> tuple[Peaks, Cuts, int]:
    """R peaks with a whole cut, the cuts (beat, 187), and how many R peaks have none."""
    lead = lead_for_cuts(record)
    peaks = find_r_peaks(lead)
    if len(peaks) < 2:
        raise UnusableRecord(record.name, "no-beats", f"{len(peaks)} R peaks in lead II")
    cuts, whole = cut_beats(lead, peaks)
    if not whole.any():
        raise UnusableRecord(record.name, "no-beats", "no R peak with a whole interval after it")
    return peaks[whole], cuts[whole], int((~whole).sum())


def _as_example(name: str, cuts: Cuts, lost: int, labels: NDArray[np.int8]) -> Examples:
    return Examples(
        names=[name],
        signals=[cuts.reshape(1, -1)],
        leads=(0,),
        labels=labels,
        features=np.zeros((1, 0), dtype=np.float32),
        without_example=lost,
    )


def infarction_recording(record: Record) -> Examples:
    """A recording as in the rhythm task, twelve leads at 100 Hz, with its infarction label.

    Raises UnusableRecord without a label or if it is too short.
    """
    labels = require_infarction_label(record)
    return Examples(
        names=[record.name],
        signals=[zscore(filter_recording(record))],
        leads=lead_indices(record),
        labels=labels,
        features=np.zeros((1, 0), dtype=np.float32),
    )
