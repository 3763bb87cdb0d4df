"""Answers are in memory for a while, and never more than so many."""

import numpy as np
from support.beat_recordings import recording

from heartfed.web.upload.answering import AnsweredUpload
from heartfed.web.upload.kept import KeptAnswers


def answered(seconds=10.0):
    record = recording(seconds=seconds)
    return AnsweredUpload(name="a", record=record, cannot_say="", answers=())


def test_the_answer_nobody_looked_at_for_longest_goes_first():
    kept = KeptAnswers(most=2)
    first, second = kept.keep(answered()), kept.keep(answered())
    assert len(first) >= 20
    assert kept.find(first) is not None
    third = kept.keep(answered())
    assert [kept.find(key) is not None for key in (first, second, third)] == [True, False, True]
    assert kept.find("") is None


def test_answers_are_bounded_in_bytes_but_the_latest_is_kept():
    one = answered()
    kept = KeptAnswers(most_bytes=int(1.5 * one.size))
    first, second = kept.keep(one), kept.keep(answered())
    assert kept.find(first) is None
    assert kept.find(second) is not None
    large = kept.keep(answered(60.0))
    assert kept.find(second) is None
    assert large not in (first, second)


def test_answers_are_forgotten_after_a_while():
    now = np.zeros(1)
    kept = KeptAnswers(seconds=60.0, clock=lambda: float(now[0]))
    key = kept.keep(answered())
    now[0] = 50.0
    assert kept.find(key) is not None
    now[0] = 100.0  # 50 s after it was last looked at
    assert kept.find(key) is not None
    now[0] = 161.0
    assert kept.find(key) is None
