"""The official score on a table small enough to count by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from fl.evaluation.cpsc2018_score import official_score
from fl.util.random_streams import stream


def test_any_of_a_records_labels_is_right_and_a_wrong_answer_counts_against_the_first():
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.int8)
    first = np.array([0, 1, 2, 0])
    answers = np.array([1, 2, 2, 0])  # second label; wrong for a first label 1; right; right
    found = official_score(first, labels, answers)
    # Class 1 is right once and missed once, class 2 is right once and wrongly said once.
    assert found["classes"] == pytest.approx([1.0, 2 / 3, 2 / 3])
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_with_one_label_each_it_is_macro_f1():
    rng = stream(0, "official")
    first, answers = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    labels = np.eye(4, dtype=np.int8)[first]
    expected = f1_score(first, answers, average="macro")
    assert official_score(first, labels, answers)["f1"] == pytest.approx(expected)


def test_a_class_that_is_nowhere_has_no_score():
    labels = np.eye(3, dtype=np.int8)[[0, 1]]
    assert official_score(np.array([0, 1]), labels, np.array([0, 1]))["classes"][2] is None


def test_without_a_recording_there_is_no_score():
    none = np.array([], dtype=np.int64)
    found = official_score(none, np.zeros((0, 2), dtype=np.int8), none)
    assert found == {"f1": None, "classes": [None, None], "n": 0}


def test_a_recording_counts_once_whatever_the_number_of_its_labels():
    labels = np.ones((3, 2), dtype=np.int8)
    found = official_score(np.array([0, 0, 1]), labels, np.array([0, 1, 1]))
    assert found == {"f1": 1.0, "classes": [1.0, 1.0], "n": 3}
