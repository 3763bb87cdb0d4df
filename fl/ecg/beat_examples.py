"""Beat examples: every annotated or detected heartbeat of a recording, with its features."""

from dataclasses import dataclass, replace
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
from fl.ecg.qrs_detection import detect_beats, detector_errors, match_beats
from fl.ecg.records import Annotations, Examples, Record
from fl.ecg.rolling_statistics import rolling_mean, usual_beat
from fl.ecg.wavelet import wavelet_denoised
from fl.util.errors import UnusableRecord
from fl.util.random_streams import stream

FEWEST_BEATS = 3  # of a recording: features need an interval before and after


@dataclass(frozen=True, kw_only=True)
class BeatExampleMaker:
    """Makes the beat examples of a recording; its options distinguish the variants of the task."""

    causal: bool = False  # True: use nothing later than the beat's own window
    detector: str = ""  # name in DETECTORS; "" takes the R peaks from the annotations
    wavelet: bool = False  # True: the baseline, and noise, are removed by wavelets

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
        labels = np.eye(len(BEAT_CLASSES), dtype=np.int8)[classes]
        lead = self._lead(record)
        examples = self._examples(record, lead, peaks, labels)
        if self.detector:
            return examples
        changed = self._features_with_errors(record, lead, peaks, examples.features)
        return replace(examples, detector_features=changed)

    def from_peaks(
        self, record: Record, peaks: NDArray[np.int64], labels: NDArray[np.int8]
    ) -> Examples:
        """Examples of beats whose R peaks (beat,), in samples, and labels (beat, class) are known.

        The signal of an example (2, sample) is lead II around the R peak and its difference from
        the patient's median beat. It is scaled by the whole recording's standard deviation, not
        by the beat's own: a beat that is larger than its neighbours must stay larger.
        """
        return self._examples(record, self._lead(record), peaks, labels)

    def beats(self, record: Record, peaks: NDArray[np.int64]) -> NDArray[np.float32]:
        """Lead II around each R peak at `BEAT_FS`, without baseline and scaled: (beat, sample)."""
        return self._beats(self._lead(record), peaks, record.fs)

    def _lead(self, record: Record) -> NDArray[np.float32]:
        """Lead II of the recording at `BEAT_FS`, without baseline: (1, sample)."""
        lead = resample(record.signal[[record.leads.index("II")]], record.fs, BEAT_FS)
        remove = wavelet_denoised if self.wavelet else remove_baseline
        lead = remove(lead, BEAT_FS)
        return lead if self.causal else zscore(lead)

    def _beats(
        self, lead: NDArray[np.float32], peaks: NDArray[np.int64], fs: float
    ) -> NDArray[np.float32]:
        centres = np.rint(peaks * (BEAT_FS / fs)).astype(np.int64)
        beats = windows_around(lead, centres, BEAT_BEFORE, BEAT_AFTER)[:, 0]
        if self.causal:
            beats = beats / (_recent_scale(beats) + 1e-6)
        return beats

    def _examples(
        self,
        record: Record,
        lead: NDArray[np.float32],
        peaks: NDArray[np.int64],
        labels: NDArray[np.int8],
    ) -> Examples:
        if len(peaks) < FEWEST_BEATS:
            raise UnusableRecord(
                record.name, "no-annotation", f"{len(peaks)} beats; at least {FEWEST_BEATS}"
            )
        beats = self._beats(lead, peaks, record.fs)
        median = usual_beat(beats.astype(np.float64), self.causal)
        return Examples(
            names=[f"{record.name}/{peak:06d}" for peak in peaks.tolist()],
            signals=list(_halved(np.stack([beats, beats - median], axis=1))),
            leads=(0, 1),
            labels=labels,
            features=beat_features(beats, peaks / record.fs, causal=self.causal, median=median),
        )

    def _features_with_errors(
        self,
        record: Record,
        lead: NDArray[np.float32],
        peaks: NDArray[np.int64],
        features: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Features (beat, feature) with R peaks as a detector finds them: see `detector_errors`.

        A beat that it would miss keeps its `features`; all do where too few beats are left.
        """
        found, beat = detector_errors(peaks, record.fs, stream(0, "detector", record.name))
        if len(found) < FEWEST_BEATS:
            return features
        beats = self._beats(lead, found, record.fs)
        changed = features.copy()
        true = beat >= 0
        changed[beat[true]] = beat_features(beats, found / record.fs, causal=self.causal)[true]
        return changed


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
