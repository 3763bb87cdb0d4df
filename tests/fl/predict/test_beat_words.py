"""What is seen of a heartbeat without a model: its timing and the width of its QRS complex."""

from dataclasses import replace

import numpy as np
import pytest
from support.beat_recordings import recording

from fl.predict.beat_words import BeatMeasures, beat_measures

FS = 360.0


def measures(record):
    peaks = record.annotations.samples
    return beat_measures(record, peaks, range(len(peaks)))


def test_an_early_beat_is_early_by_its_share_of_the_usual_interval():
    found = measures(recording(seconds=30.0, early=(12,)))
    assert found[0].early is None
    assert found[11].early == pytest.approx(0.3, abs=0.01)
    assert found[12].early == pytest.approx(-0.3, abs=0.01)
    assert found[11].in_words.startswith("early by 30%, QRS about ")
    assert found[12].in_words.startswith("late by 30%, ")
    assert found[5].in_words.startswith("on time, ")


@pytest.mark.parametrize("sigma", [0.015, 0.03, 0.045])
def test_the_width_of_a_qrs_complex_is_measured_in_all_leads(sigma):
    t = np.arange(round(10 * FS)) / FS
    beats = np.arange(1.0, 9.5)
    lead = np.exp(-(((t - beats[:, None]) / sigma) ** 2)).sum(axis=0)
    base = recording(seconds=20.0)
    record = replace(base, signal=np.stack([lead, 0 * lead]).astype(np.float32), leads=("I", "II"))
    found = beat_measures(record, np.rint(beats * FS).astype(np.int64), [4])[0]
    # The slope of a Gauss curve is a tenth of its steepest at 1.83 sigma to each side.
    assert found.qrs == pytest.approx(2 * 1.83 * sigma, abs=0.016)


def test_nothing_is_claimed_where_nothing_is_seen():
    record = recording(seconds=20.0)
    flat = replace(record, signal=np.zeros_like(record.signal))
    peaks = record.annotations.samples
    assert beat_measures(flat, peaks, [5])[0].qrs is None
    assert beat_measures(record, np.array([3]), [0]) == [BeatMeasures(early=None, qrs=None)]
    assert beat_measures(record, peaks, []) == []
    assert BeatMeasures(early=None, qrs=None).in_words == "no interval before it to compare"
