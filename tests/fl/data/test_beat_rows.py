"""Rows of neighbouring beats: whole recordings, in order of time, and one answer for each beat."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_cohorts import made_shard

from fl.data.beat_rows import covering_rows, random_rows
from fl.data.cohort import Cohort
from fl.ecg.tasks import BEAT
from fl.util.random_streams import stream

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=5)
SIZES = st.integers(2, 16)


def recordings(lengths, seed=0):
    """Recordings of as many beats, in two sources that use the same names, taken in any order."""
    names = [np.repeat([f"r{i}" for i in range(len(part))], part) for part in split(lengths)]
    shards = [
        made_shard(records, source=f"source-{i}", task=BEAT, recordings=records)
        for i, records in enumerate(names)
        if len(records)
    ]
    cohort = Cohort.of(BEAT, shards)
    return cohort.take(stream(seed, "order").permutation(len(cohort)))


def split(lengths):
    return lengths[: len(lengths) // 2], lengths[len(lengths) // 2 :]


def check_order(cohort, rows):
    """Every row is of one recording, beat after beat; only the last one of all is repeated."""
    recording, place = cohort.recording_numbers[rows], cohort.row[rows]
    assert (recording == recording[:, :1]).all()
    last = {r: cohort.row[cohort.recording_numbers == r].max() for r in np.unique(recording)}
    ends = np.vectorize(last.get)(recording)
    steps = np.diff(place, axis=1)
    assert ((steps == 1) | ((steps == 0) & (place[:, 1:] == ends[:, 1:]))).all()


@given(LENGTHS, SIZES, st.integers(0, 5))
def test_random_rows_hold_every_beat_in_order_of_time(lengths, size, seed):
    cohort = recordings(lengths, seed)
    rows = random_rows(cohort, size, stream(seed, "rows"))
    check_order(cohort, rows)
    assert set(rows.reshape(-1).tolist()) == set(range(sum(lengths)))
    assert len(rows) <= sum(-(-n // size) + 1 for n in lengths)
    assert np.array_equal(rows, random_rows(cohort, size, stream(seed, "rows")))


def test_rows_are_cut_at_other_places_and_mixed_in_every_epoch():
    cohort, rng = recordings([300, 300]), stream(0, "rows")
    one, other = (random_rows(cohort, 16, rng) for _ in range(2))
    assert {tuple(row) for row in one.tolist()} != {tuple(row) for row in other.tolist()}
    assert (np.diff(cohort.recording_numbers[one[:, 0]]) != 0).sum() > 5  # not one after the other


@given(LENGTHS, SIZES, st.booleans(), st.integers(0, 5))
def test_every_beat_is_answered_once(lengths, size, later, seed):
    cohort = recordings(lengths, seed)
    rows, answered = covering_rows(cohort, size, later)
    assert rows.shape == answered.shape == (len(rows), size)
    check_order(cohort, rows)
    counts = np.bincount(rows[answered], minlength=sum(lengths))
    assert counts.tolist() == [1] * sum(lengths)


@given(LENGTHS, SIZES, st.booleans())
def test_a_beat_is_answered_where_enough_of_its_neighbours_are_seen(lengths, size, later):
    cohort = recordings(lengths)
    rows, answered = covering_rows(cohort, size, later)
    _, before = np.nonzero(answered)
    beat = rows[answered]
    recording = cohort.recording_numbers
    first, last = (
        np.array([f(cohort.row[recording == r]) for r in range(len(lengths))])[recording[beat]]
        for f in (np.min, np.max)
    )
    earlier = cohort.row[beat] - first
    if not later:
        assert (before >= np.minimum(earlier, size // 2)).all()
        return
    remaining = last - cohort.row[beat]
    after = np.minimum(size - 1 - before, remaining)
    wanted = np.minimum(np.minimum(earlier, remaining), size // 4)
    assert (np.minimum(before, after) >= wanted).all()


def test_a_recording_shorter_than_a_row_is_one_row_whose_last_beat_is_repeated():
    cohort = recordings([3])
    in_time = np.argsort(cohort.row)
    expected = in_time[[0, 1, 2, 2, 2]].tolist()
    assert random_rows(cohort, 5, stream(0, "rows")).tolist() == [expected]
    rows, answered = covering_rows(cohort, 5, later=True)
    assert rows.tolist() == [expected]
    assert answered.tolist() == [[True, True, True, False, False]]


@pytest.mark.parametrize("later", [False, True])
def test_without_beats_there_are_no_rows(later):
    empty = recordings([4]).take(np.zeros(0, dtype=np.int64))
    assert random_rows(empty, 5, stream(0, "rows")).shape == (0, 5)
    assert [part.shape for part in covering_rows(empty, 5, later)] == [(0, 5), (0, 5)]


def test_a_day_of_beats_needs_little_memory():
    """100,000 beats; a table of every row and every beat would have 300 million entries."""
    cohort = recordings([100_000])
    tracemalloc.start()
    rows, answered = covering_rows(cohort, 64, later=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20
    assert answered.sum() == 100_000
    assert len(rows) == 3124
