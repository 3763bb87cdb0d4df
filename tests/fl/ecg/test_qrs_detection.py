"""Detected beats are at the R peak, and are matched with annotated beats once."""

import numpy as np
import pytest
from support.beat_recordings import recording
from support.made_ecg import heartbeats

from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.qrs_detection import (
    DETECTORS,
    SHORT_SECONDS,
    detect_beats,
    match_beats,
    usual_detector,
)

FS = 360.0


def test_a_detection_within_150_ms_matches_the_beat_and_is_used_once():
    annotated = np.array([1000, 2000, 3000])
    detected = np.array([1054, 1055, 2020, 2040, 3055])  # 54 samples are 150 ms
    annotation, detection = match_beats(annotated, detected, FS)
    assert annotation.tolist() == [0, 1]
    assert detected[detection].tolist() == [1054, 2020]


def test_without_detections_there_are_no_pairs():
    annotation, detection = match_beats(np.array([5]), np.zeros(0, dtype=np.int64), FS)
    assert (len(annotation), len(detection)) == (0, 0)


@pytest.mark.parametrize("detector", DETECTORS)
def test_detectors_find_clear_beats_at_their_peak(detector):
    record = recording(seconds=40.0)
    annotated = record.annotations.samples
    detected = detect_beats(detector, record.signal[0], FS)
    annotation, detection = match_beats(annotated, detected, FS)
    assert len(annotation) >= 36
    assert np.abs(detected[detection] - annotated[annotation]).max() <= 2


@pytest.mark.parametrize("seconds", [6.0, 10.0, 20.0])
def test_the_usual_detector_of_a_short_recording_finds_its_first_and_last_beats(seconds):
    record = recording(seconds=seconds)
    name = usual_detector(seconds)
    detected = detect_beats(name, record.signal[0], FS)
    annotation, _ = match_beats(record.annotations.samples, detected, FS)
    assert name == "energy"
    assert len(annotation) == len(record.annotations.samples)
    assert len(detected) == len(annotation)


@pytest.mark.parametrize("fs", [100.0, 977.5])
def test_the_usual_detector_of_a_long_recording_survives_a_spike_and_any_usual_rate(fs):
    name = usual_detector(SHORT_SECONDS)
    assert name != usual_detector(SHORT_SECONDS - 0.01)
    lead = heartbeats(75, SHORT_SECONDS, fs)[0]
    lead[5] = 1e4
    beats = np.rint(np.arange(0.4, SHORT_SECONDS, 0.8) * fs).astype(np.int64)
    annotation, _ = match_beats(beats, detect_beats(name, lead, fs), fs)
    assert len(annotation) >= len(beats) - 2


def test_detected_beats_have_the_label_of_the_annotated_ones():
    examples = BeatExampleMaker(detector="xqrs")(recording(seconds=40.0))
    assert len(examples.names) >= 36
    assert (examples.labels[:, 0] == 1).all()
