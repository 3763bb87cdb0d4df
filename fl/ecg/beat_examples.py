"""Beat examples: every annotated or detected heartbeat of a recording, with its features."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.beat_features import beat_features
from fl.ecg.beat_segments import (
    BEAT_AFTER,
    BEAT_BEFORE,
    BEAT_FS,
    annotated_beats,
    reject_paced,
    require_lead_two,
)
from fl.ecg.filters import remove_baseline, resample, windows_around, zscore
from fl.ecg.labels import AAMI, BEAT_CLASSES
from fl.ecg.qrs_detection import detect_beats, match_beats
from fl.ecg.records import Annotations, Examples, Record
from fl.ecg.rolling_statistics import rolling_mean, usual_beat
from fl.util.errors import UnusableRecord


@dataclass(frozen=True, kw_only=True)
class BeatExampleMaker:
    """Makes the beat examples of a recording; its options distinguish the variants of the task."""

    causal: bool = False  # True: use nothing later than the beat's own window
    detector: str = ""  # name in DETECTORS; "" takes the R peaks from the annotations

    def __call__(self, record: Record) -> Examples:
        """One example per annotated beat: see `from_peaks`.

        With a detector, only beats that it finds become examples, at the detected R peaks and
        with the annotated labels. Raises UnusableRecord for a recording without beat annotations,
        with paced beats, without lead II or with fewer than three beats.
        """
        peaks, symbols = annotated_beats(_checked_annotations(record))
        if self.detector:
            signal = record.signal[record.leads.index("II")]
            detected = detect_beats(self.detector, signal, record.fs)
            annotation, detection = match_beats(peaks, detected, record.fs)
            peaks, symbols = detected[detection], symbols[annotation]
        classes = [BEAT_CLASSES.index(AAMI[s]) for s in symbols.tolist()]
        return self.from_peaks(record, peaks, np.eye(len(BEAT_CLASSES), dtype=np.int8)[classes])

    def from_peaks(
        self, record: Record, peaks: NDArray[np.int64], labels: NDArray[np.int8]
    ) -> Examples:
        """Examples of beats whose R peaks (beat,), in samples, and labels (beat, class) are known.

        The signal of an example (2, sample) is lead II around the R peak and its difference from
        the patient's median beat. It is scaled by the whole recording's standard deviation, not
        by the beat's own: a beat that is larger than its neighbours must stay larger.
        """
        if len(peaks) < 3:
            raise UnusableRecord(record.name, "no-annotation", f"{len(peaks)} beats; at least 3")
        beats = self.beats(record, peaks)
        median = usual_beat(beats.astype(np.float64), self.causal)
        return Examples(
            names=[f"{record.name}/{peak:06d}" for peak in peaks.tolist()],
            signals=list(_halved(np.stack([beats, beats - median], axis=1))),
            leads=(0, 1),
            labels=labels,
            features=beat_features(beats, peaks / record.fs, causal=self.causal, median=median),
        )

    def beats(self, record: Record, peaks: NDArray[np.int64]) -> NDArray[np.float32]:
        """Lead II around each R peak at `BEAT_FS`, without baseline and scaled: (beat, sample)."""
        lead = resample(record.signal[[record.leads.index("II")]], record.fs, BEAT_FS)
        lead = remove_baseline(lead, BEAT_FS)
        centres = np.rint(peaks * (BEAT_FS / record.fs)).astype(np.int64)
        if not self.causal:
            lead = zscore(lead)
        beats = windows_around(lead, centres, BEAT_BEFORE, BEAT_AFTER)[:, 0]
        if self.causal:
            beats = beats / (_recent_scale(beats) + 1e-6)
        return beats


def _halved(signals: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Mean of every two samples: from `BEAT_FS` to `NETWORK_FS`."""
    # `mean` over an axis of two samples would take ten times as long.
    return np.asarray((signals[..., ::2] + signals[..., 1::2]) / 2, dtype=np.float32)


def _checked_annotations(record: Record) -> Annotations:
    """The record's annotations; `UnusableRecord` where the beat task cannot use the record."""
    if record.annotations is None:
        raise UnusableRecord(record.name, "no-annotation", "the beat task needs annotated beats")
    reject_paced(record.name, record.annotations)
    require_lead_two(record)
    return record.annotations


def _recent_scale(beats: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root mean square of the last hundred beats' samples: (beat, 1)."""
    energy = rolling_mean((beats.astype(np.float64) ** 2).mean(axis=1), 50, True)
    return np.sqrt(energy)[:, None].astype(np.float32)
