"""Annotated beats against detected ones: the comparison beat by beat of EC57."""

from collections import Counter

import numpy as np
import pytest

from fl.ecg.labels import BEAT_CLASSES
from fl.ecg.records import Annotations
from fl.evaluation.ec57 import (
    LEARNING_SECONDS,
    by_record,
    compare_beats,
    confusion,
    detection,
    fibrillation_of,
    intervals,
    table,
)
from fl.util.imports.fast_import import import_quietly

FS = 100.0
CODE = {name: i for i, name in enumerate((*BEAT_CLASSES, "O"))}


def codes(classes):
    return np.array([CODE[c] for c in classes], dtype=np.int64)


def compared(annotated, detected, fs=FS, **options):
    """The comparison of {sample: class} with {sample: class}."""
    return compare_beats(
        np.array(list(annotated), dtype=np.int64),
        codes(annotated.values()),
        np.array(list(detected), dtype=np.int64),
        codes(detected.values()),
        fs,
        **options,
    )


def pairs(found):
    """How often each pair occurs, as `Sn` for an S beat called N."""
    names = (*BEAT_CLASSES, "O")
    places = zip(*np.nonzero(found.counts), strict=True)
    return {names[i] + names[j].lower(): int(found.counts[i, j]) for i, j in places}


def test_missed_beats_are_in_the_last_column_and_false_ones_in_the_last_row():
    found = compared(
        {100: "N", 200: "S", 300: "V", 400: "S", 500: "N"},
        {102: "N", 195: "S", 310: "N", 450: "S", 500: "S"},
    )
    assert pairs(found) == {"Nn": 1, "Ss": 1, "Vn": 1, "So": 1, "Os": 1, "Ns": 1}
    assert found.beats_left_out == found.detections_left_out == 0
    # S: right 1; annotated 2, one of them missed; called S 3 times, once where no beat is.
    s = table(found.counts)["classes"]["S"]
    assert s == {"beats": 2, "se": 0.5, "ppv": pytest.approx(1 / 3), "f1": pytest.approx(2 / 5)}
    assert table(found.counts)["accuracy"] == pytest.approx(2 / 6)
    assert detection(found.counts) == {"se": pytest.approx(4 / 5), "ppv": pytest.approx(4 / 5)}


def test_a_pair_is_at_most_150_ms_apart():
    assert pairs(compared({100: "N", 200: "N"}, {115: "N", 184: "N"})) == {
        "Nn": 1,
        "No": 1,
        "On": 1,
    }
    # at 128 Hz, 150 ms are 19.2 samples
    assert pairs(compared({100: "V"}, {119: "V"}, fs=128.0)) == {"Vv": 1}
    assert pairs(compared({100: "V"}, {120: "V"}, fs=128.0)) == {"Vo": 1, "Ov": 1}


def test_of_two_detections_the_nearer_one_is_the_beat():
    assert pairs(compared({100: "N"}, {92: "V", 103: "N"})) == {"Nn": 1, "Ov": 1}
    assert pairs(compared({100: "N", 120: "S"}, {112: "S"})) == {"No": 1, "Ss": 1}


def test_the_learning_period_is_left_out_and_counted():
    assert LEARNING_SECONDS == 300
    annotated = {100: "N", 200: "S", 300: "N", 400: "S"}
    detected = {100: "N", 150: "V", 198: "S", 299: "N", 350: "V", 401: "N"}
    assert pairs(compared(annotated, detected)) == {"Nn": 2, "Ss": 1, "Sn": 1, "Ov": 2}
    found = compared(annotated, detected, skip_seconds=3.0)
    # the beat at 300 is in, and its detection at 299 with it
    assert pairs(found) == {"Nn": 1, "Sn": 1, "Ov": 1}
    assert (found.beats_left_out, found.detections_left_out) == (2, 3)


def test_a_detection_of_a_beat_in_the_learning_period_is_not_false_after_it():
    found = compared({299: "N", 400: "N"}, {301: "V", 400: "N"}, skip_seconds=3.0)
    assert pairs(found) == {"Nn": 1}
    assert (found.beats_left_out, found.detections_left_out) == (1, 1)


def test_in_ventricular_fibrillation_nothing_is_compared():
    notes = Annotations(
        samples=np.array([100, 200, 250, 260, 400, 500, 600, 700]),
        symbols=("N", "[", "!", "!", "]", "N", "[", "!"),
        rhythms=("",) * 8,
    )
    stretches = fibrillation_of(notes)
    assert stretches == [(200, 400), (600, 700)]
    found = compared(
        {100: "N", 500: "N"}, {100: "N", 199: "V", 200: "V", 300: "V", 400: "V", 500: "N"}
    )
    assert pairs(found) == {"Nn": 2, "Ov": 4}
    found = compared(
        {100: "N", 500: "N"},
        {100: "N", 199: "V", 200: "V", 300: "V", 400: "V", 500: "N"},
        fibrillation=stretches,
    )
    assert pairs(found) == {"Nn": 2, "Ov": 1}
    assert found.detections_left_out == 3


def test_without_beats_or_without_detections_all_are_false_or_missed():
    assert pairs(compared({}, {100: "S"})) == {"Os": 1}
    assert pairs(compared({100: "S"}, {})) == {"So": 1}
    nothing = compared({}, {}).counts
    assert nothing.sum() == 0
    assert detection(nothing) == {"se": None, "ppv": None}


def test_each_peak_needs_a_class():
    peaks, classes = np.array([100, 200]), np.array([0])
    with pytest.raises(ValueError, match="2 annotated peaks have 1 classes"):
        compare_beats(peaks, classes, peaks, np.array([0, 0]), FS)


def made(seed, nearest):
    """Beats that are at least `nearest` samples apart, and what a poor detector makes of them."""
    rng = np.random.default_rng(seed)
    annotated = np.cumsum(rng.integers(nearest, 3 * nearest, 300))
    found = annotated[rng.random(300) < 0.9]
    moved = found + rng.integers(-18, 19, len(found))
    extra = rng.integers(0, annotated[-1], 40)
    detected = np.unique(np.concatenate([moved, extra]).clip(0))
    truth, called = (rng.integers(0, 5, len(peaks)) for peaks in (annotated, detected))
    return annotated, truth, detected, called


def walk(annotated, truth, detected, called, window):
    """The pairs that bxb's manual describes: from the first mark to the last, the earlier in turn.

    Whichever mark is earlier is paired with the other side's next one if that is within the window
    and no later mark of its own side is nearer; else it is alone.
    """
    i = j = 0
    found = Counter()
    far = float("inf")
    while i < len(annotated) or j < len(detected):
        beat = annotated[i] if i < len(annotated) else far
        mark = detected[j] if j < len(detected) else far
        own, place = (detected, j) if mark < beat else (annotated, i)
        later = own[place + 1] if place + 1 < len(own) else far
        apart = abs(beat - mark)
        if apart <= window and apart < abs(max(beat, mark) - later):
            found[truth[i], called[j]] += 1
            i, j = i + 1, j + 1
        elif mark < beat:
            found[5, called[j]] += 1
            j += 1
        else:
            found[truth[i], 5] += 1
            i += 1
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_pairs_are_those_of_bxb(seed):
    """Where beats are more than 300 ms apart; equal distances on both sides are left aside."""
    annotated, truth, detected, called = made(seed, nearest=31)
    tie = np.isin(2 * annotated[:, None] - detected, detected) & (detected != annotated[:, None])
    keep = ~np.isin(detected, detected[tie.any(axis=0)])
    detected, called = detected[keep], called[keep]
    counts = compare_beats(annotated, truth, detected, called, FS).counts
    expected = np.zeros((6, 6), dtype=np.int64)
    for place, number in walk(annotated, truth, detected, called, 15).items():
        expected[place] = number
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_detection_is_that_of_wfdb(seed):
    annotated, truth, detected, called = made(seed, nearest=40)
    counts = compare_beats(annotated, truth, detected, called, FS).counts
    compare = import_quietly("wfdb.processing").compare_annotations
    theirs = compare(annotated, detected, 16)  # wfdb wants less than its window
    assert counts[:5, :5].sum() == theirs.tp
    assert counts[:5, 5].sum() == theirs.fn
    assert counts[5, :5].sum() == theirs.fp
    assert detection(counts) == {
        "se": pytest.approx(theirs.sensitivity),
        "ppv": pytest.approx(theirs.positive_predictivity),
    }


def test_with_every_beat_found_the_measures_are_those_of_annotated_beats():
    annotated, truth, _, called = made(0, nearest=40)
    called = called[: len(annotated)] if len(called) >= len(annotated) else truth
    six = compare_beats(annotated, truth, annotated, called, FS).counts
    five = confusion(truth, called, np.zeros(len(truth), dtype=np.int64), 1)[0]
    np.testing.assert_array_equal(six[:5, :5], five)
    assert table(six) == table(five)
    tens = [np.stack([six] * 10)], [np.stack([five] * 10)]
    assert by_record(tens[0][0]) == by_record(tens[1][0])
    assert intervals(tens[0], seed=0) == intervals(tens[1], seed=0)


def test_missed_and_false_beats_widen_into_the_interval_and_the_mean_over_records():
    good = compared({100: "S", 200: "N"}, {100: "S", 200: "N"}).counts
    bad = compared({100: "S", 200: "N"}, {150: "S", 200: "N"}).counts
    counts = np.stack([good, bad] * 10)
    assert by_record(counts)["classes"]["S"]["se"] == pytest.approx(0.5)
    assert table(counts.sum(axis=0))["classes"]["S"]["f1"] == pytest.approx(0.5)
    low, high = intervals([counts], seed=0)["classes"]["S"]["se"]
    assert 0 < low < 0.5 < high < 1


def test_ec57_does_not_count_f_and_q_beats_against_v_and_q_beats_against_s():
    annotated = dict(zip(range(100, 800, 100), "VFQNSQF", strict=True))
    detected = dict(zip(range(100, 800, 100), "VVVVSSS", strict=True))
    counts = compared(annotated, detected).counts
    strict, lenient = table(counts)["classes"], table(counts, excuse=True)["classes"]
    assert (strict["V"]["ppv"], lenient["V"]["ppv"]) == (1 / 4, 1 / 2)  # N called V is false
    assert (strict["S"]["ppv"], lenient["S"]["ppv"]) == (1 / 3, 1 / 2)  # F called S is false
    assert lenient["V"]["f1"] == pytest.approx(2 / 3)
    assert strict["V"]["se"] == lenient["V"]["se"] == 1
    many = np.stack([counts] * 10)
    assert by_record(many, excuse=True)["classes"]["V"]["ppv"] == pytest.approx(1 / 2)
    assert intervals([many], seed=0, excuse=True)["classes"]["V"]["ppv"] == pytest.approx(
        (0.5, 0.5)
    )
