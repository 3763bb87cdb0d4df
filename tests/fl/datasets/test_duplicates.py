"""Copies of a recording are found whatever their unit, gain and baseline."""

import numpy as np
from support.small_records import waves

from fl.datasets.duplicates import SeenSignals, fingerprints

SIGNAL = waves(2, 4000).T.astype(np.float32)


def test_a_copy_is_found_whatever_its_gain_and_baseline():
    stored = np.round(SIGNAL * 1000)
    peak = np.abs(stored).max()
    scaled = np.round(stored * 32767 / peak) / 32767
    assert fingerprints(("I", "II"), stored) == fingerprints(("I", "II"), scaled + 3)


def test_another_lead_and_another_signal_are_not_copies():
    first = fingerprints(("I", "II"), SIGNAL)
    assert not set(first) & set(fingerprints(("II", "I"), SIGNAL))
    other = SIGNAL.copy()
    other[:, 2000] += 1
    assert not set(first) & set(fingerprints(("I", "II"), other))


def test_a_copy_of_a_copy_has_the_name_of_the_first():
    both = fingerprints(("I", "II"), SIGNAL)
    seen = SeenSignals()
    assert [seen.first_match(n, p) for n, p in (("a", both[:1]), ("b", both), ("c", both[1:]))] == [
        "",
        "a",
        "a",
    ]
