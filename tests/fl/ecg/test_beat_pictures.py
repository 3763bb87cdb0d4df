"""Whole beats: where they are cut, how they are scaled, and which get no example."""

from dataclasses import replace

import numpy as np
import pytest
from support.beat_recordings import recording

from fl.ecg.beat_pictures import (
    BEAT7_CLASSES,
    ENDS,
    LONGEST_INTERVAL,
    SAMPLES,
    WholeBeatMaker,
    beat_bounds,
    left_out,
)
from fl.ecg.records import Annotations
from fl.util.errors import UnusableRecord

FS = 360.0


def with_beats(peaks, symbols, signal=None, leads=("II",)):
    """A recording with these R peaks (s) and a ramp as its signal, unless another is given."""
    made = recording(seconds=60.0)
    ramp = np.arange(round(60 * FS), dtype=np.float32)[None] / 1000
    notes = Annotations(
        samples=np.rint(np.array(peaks) * FS).astype(np.int64),
        symbols=tuple(symbols),
        rhythms=("",) * len(symbols),
    )
    return replace(made, signal=ramp if signal is None else signal, leads=leads, annotations=notes)


def test_a_beat_reaches_half_an_interval_to_either_side():
    bounds = beat_bounds(with_beats([1, 2, 2.5, 4], "NNNN"), np.array([360, 720, 900, 1440]))
    np.testing.assert_array_equal(bounds, [[540, 810], [810, 1170]])


def test_an_interval_longer_than_three_seconds_counts_as_three():
    bounds = beat_bounds(with_beats([1, 21, 22], "NNN"), np.array([360, 7560, 7920]))
    assert LONGEST_INTERVAL == 3.0
    np.testing.assert_array_equal(bounds, [[7560 - 1.5 * 360, 7560 + 180]])


def test_a_beat_is_resampled_over_its_extent_and_fills_the_range():
    examples = WholeBeatMaker()(with_beats([1, 2, 2.5, 4], "NNNN"))
    assert [signal.shape for signal in examples.signals] == [(1, SAMPLES)] * 2
    for signal in examples.signals:  # of a ramp, every cut is the same straight line
        np.testing.assert_allclose(signal[0], np.linspace(-1, 1, SAMPLES), atol=1e-4)
        assert (signal.min(), signal.max()) == (-1, 1)


def test_the_r_peak_of_an_early_beat_is_left_of_the_middle():
    made = recording(early=(20,))
    examples = WholeBeatMaker()(made)
    regular, early = examples.signals[9][0], examples.signals[18][0]
    assert regular.argmax() == pytest.approx(SAMPLES // 2, abs=4)
    # 0.35 s before the peak and 0.65 s after it
    assert early.argmax() == pytest.approx(0.35 * SAMPLES, abs=4)


def test_a_flat_stretch_is_zero():
    flat = np.full((1, round(60 * FS)), 0.7, dtype=np.float32)
    examples = WholeBeatMaker()(with_beats([1, 2, 3], "NNN", flat))
    assert not examples.signals[0].any()


def test_every_symbol_of_the_seven_is_a_class_of_its_own():
    symbols = ["N", *BEAT7_CLASSES, "N"]
    examples = WholeBeatMaker()(with_beats(np.arange(1.0, 10.0), symbols))
    np.testing.assert_array_equal(examples.labels, np.eye(7))


def test_other_beats_are_neighbours_and_get_no_example_and_are_counted():
    made = with_beats([1, 2, 3, 4, 5, 6, 7], ["N", "N", "F", "+", "a", "V", "N"])
    examples = WholeBeatMaker()(made)
    assert examples.names == ["100/000720", "100/002160"]  # N at 2 s and V at 6 s
    np.testing.assert_array_equal(
        beat_bounds(made, np.array([360, 720, 1080]))[0], [540, 900]
    )  # the N is cut halfway to the F
    assert left_out(made.annotations) == {"F": 1, "a": 1, ENDS: 2}
    assert len(examples.names) + sum(left_out(made.annotations).values()) == 6


def test_paced_records_and_records_without_lead_two_are_used():
    examples = WholeBeatMaker()(with_beats([1, 2, 3], "///", leads=("V5",)))
    assert examples.labels[0, BEAT7_CLASSES.index("/")] == 1


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (with_beats([1, 2, 3], "NNN", leads=("V1",)), "reads II or else V5; found V1"),
        (with_beats([1, 2], "NN"), "no beat of the classes N L R A V / E between two others"),
        (with_beats([1, 2, 3], "NFN"), "no beat of the classes"),
        (replace(recording(), annotations=None), "the beat7 task needs annotated beats"),
    ],
)
def test_a_record_without_such_beats_is_unusable(record, says):
    with pytest.raises(UnusableRecord, match=says):
        WholeBeatMaker()(record)
