"""Detectors are measured on pieces of recordings, each beat and each detection counted once."""

import numpy as np
import pytest
from support.beat_recordings import recording

from benchmarks.studies import beat_detectors
from benchmarks.studies.beat_detectors import measure, piece_starts, table


def test_pieces_are_spread_from_the_first_sample_to_the_last():
    assert piece_starts(1000, 100, 4) == [0, 300, 600, 900]
    assert piece_starts(1000, 400, 4) == [0, 600]
    assert piece_starts(1000, 1000, 4) == [0]


@pytest.fixture
def perfect(monkeypatch):
    """A detector that finds every beat of a recording, and one more between the first two."""
    record = recording(seconds=40.0)
    lead, beats = record.signal[0], record.annotations.samples

    def found(name, part, fs):
        start = next(s for s in range(len(lead)) if np.array_equal(lead[s : s + len(part)], part))
        inside = beats[(beats >= start) & (beats < start + len(part))] - start
        return np.sort(np.append(inside, (inside[0] + inside[1]) // 2))

    monkeypatch.setattr(beat_detectors, "DETECTORS", {"x": None})
    monkeypatch.setattr(beat_detectors, "detect_beats", found)
    monkeypatch.setattr(beat_detectors, "LENGTHS", (10, 1800))
    return record


def test_beats_found_and_false_detections_are_counted(perfect):
    counts = measure(perfect)["x"]
    beats = len(perfect.annotations.samples)
    assert counts["1800"] == [beats, beats, 1]
    assert counts["10"][2] == 4  # one in each piece
    assert counts["10"][0] == counts["10"][1]
    assert "| 1800 s | 100.0 (100.0) | " in table({"a": measure(perfect)})[-1]
