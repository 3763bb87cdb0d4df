"""Beats found without annotations, and the count of those that were."""

import numpy as np
import pytest
from support.beat_recordings import recording

from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.qrs_detection import DETECTORS, detect_beats, match_beats

FS = 360.0


def test_a_detection_within_150_ms_is_the_beat_and_counts_once():
    annotated = np.array([1000, 2000, 3000])
    found = np.array([1054, 1055, 2040, 2020, 3055])  # 54 samples are 150 ms
    known, place = match_beats(annotated, np.sort(found), FS)
    assert known.tolist() == [0, 1]
    assert np.sort(found)[place].tolist() == [1054, 2020]


def test_nothing_matches_nothing():
    nobody = np.zeros(0, dtype=np.int64)
    known, place = match_beats(np.array([5]), nobody, FS)
    assert (len(known), len(place)) == (0, 0)


@pytest.mark.parametrize("detector", DETECTORS)
def test_detectors_find_clear_beats_at_their_peak(detector):
    made = recording(seconds=40.0)
    found = detect_beats(detector, made.signal[0], FS)
    known, place = match_beats(made.annotations.samples, found, FS)
    assert len(known) >= 36
    assert np.abs(found[place] - made.annotations.samples[known]).max() <= 2


def test_detected_beats_carry_the_label_of_the_annotated_one():
    made = recording(seconds=40.0)
    examples = BeatExampleMaker(detector="xqrs")(made)
    assert len(examples.names) >= 36
    assert (examples.labels[:, 0] == 1).all()
