"""The synthetic cohorts of the beat7 task: beats of all seven classes, the others as they were."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER, with_seven_beats
from fl.ecg.beat_pictures import BEAT7_CLASSES
from fl.ecg.tasks import BEAT7

PLAIN = replace(SYNTHETIC_HOLTER, n_records=120)
SEVEN = with_seven_beats(PLAIN)
ROOT = Path("nowhere")


@pytest.fixture(scope="module")
def records():
    return [SEVEN.read(ROOT, name) for name in SEVEN.record_names(ROOT)]


def test_every_class_has_patients(records):
    patients = Counter()
    for record in records:
        patients.update({s for s in record.annotations.symbols if s in BEAT7_CLASSES})
    assert set(patients) == set(BEAT7_CLASSES)
    assert min(patients.values()) >= 2


def test_patients_who_have_neither_are_the_same_to_the_bit(records):
    same = 0
    for record in records:
        if {"/", "E"}.isdisjoint(record.annotations.symbols):
            plain = PLAIN.read(ROOT, record.name)
            np.testing.assert_array_equal(record.signal, plain.signal)
            assert record.annotations.symbols == plain.annotations.symbols
            same += 1
    assert 60 < same < 110


def test_an_escape_beat_comes_late(records):
    found = 0
    for record in records:
        notes = record.annotations
        times, symbols = notes.samples[1:] / record.fs, notes.symbols[1:]
        intervals = np.diff(times)
        for i, symbol in enumerate(symbols[2:], start=2):
            if symbol == "E":
                assert intervals[i - 1] > intervals[i - 2] + 0.3
                found += 1
    assert found > 20


def test_a_paced_beat_begins_with_a_spike_that_is_steeper_than_any_wave():
    clean = replace(SEVEN, noise=0.0, n_records=60)
    for name in clean.record_names(ROOT):
        record = clean.read(ROOT, name)
        steepest = np.abs(np.diff(record.signal[0])).max() / np.ptp(record.signal[0])
        if "/" in record.annotations.symbols:
            assert set(record.annotations.symbols) == {"+", "/"}
            assert steepest > 0.2


def test_the_plain_cohorts_keep_the_names_of_their_caches():
    assert repr(SYNTHETIC).startswith("Synthetic(name='synthetic', leads=")
    assert repr(with_seven_beats(SYNTHETIC)).startswith("SevenBeats(name='synthetic', leads=")
    assert BEAT7.make_examples(SEVEN.read(ROOT, "S00001")).names
