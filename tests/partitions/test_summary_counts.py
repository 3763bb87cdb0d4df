"""The counts of a small cohort, each written by hand."""

import numpy as np
import pytest
from support.made_cohorts import made_cohort

from partitions.partition import Partition
from partitions.summary import js_distances, label_counts, non_iid, site_rows, unmeasurable

COHORT = made_cohort(
    ["a", "a", "b", "c", "d", "e"],
    [[0], [0, 1], [1], [8], [0], [3]],
    groups=["x", "x", "", "", "y", "z"],
)
CLASSES = COHORT.task.classes
PARTITION = Partition(
    np.array(["site-1", "site-1", "site-1", "site-2", "central", "unseen"]),
    np.array(["train", "train", "val", "test", "test", "test"]),
)


def test_the_row_of_a_site_counts_its_patients_splits_and_labels():
    row = site_rows(COHORT, PARTITION)[0]
    assert row == {
        "site": "site-1",
        "sources": ["made-up"],
        "groups": ["x"],
        "patients": 2,
        "train": 2,
        "val": 1,
        "test": 0,
        "labels": dict.fromkeys(CLASSES, 0) | {CLASSES[0]: 2, CLASSES[1]: 2},
        "none_of_the_classes": 0,
    }


def test_known_negatives_are_counted_and_unlabelled_examples_are_not():
    cohort = made_cohort(["a", "b", "c"], [[], [], [1]])
    labels = cohort.labels.copy()
    labels[1] = -1
    cohort.__dict__["labels"] = labels
    (row,) = site_rows(cohort, Partition(np.full(3, "site-1"), np.full(3, "train")))
    assert row["none_of_the_classes"] == 1


def test_central_and_unseen_have_the_last_rows_if_they_have_examples():
    names = [row["site"] for row in site_rows(COHORT, PARTITION)]
    assert names == ["site-1", "site-2", "central", "unseen"]
    without = Partition(np.full(6, "site-1"), PARTITION.split)
    assert [row["site"] for row in site_rows(COHORT, without)] == ["site-1"]


def test_a_class_is_measurable_if_a_central_example_of_the_split_shows_it():
    assert unmeasurable(COHORT, PARTITION) == list(CLASSES[1:])
    assert unmeasurable(COHORT, PARTITION, "val") == list(CLASSES)


def test_label_counts_are_those_of_each_site():
    assert label_counts(COHORT, PARTITION).tolist() == [
        [2, 2, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 1],
    ]


def test_the_measure_is_the_mean_over_all_pairs_of_sites():
    def three_sites(labels):
        sites = Partition(np.array(["a", "b", "c"]), np.full(3, "train"))
        return non_iid(made_cohort("pqr", labels), sites)

    assert three_sites([[0], [0], [0]]) == 0
    assert three_sites([[0], [1], [2]]) == 1
    assert three_sites([[0], [0], [2]]) == round(2 / 3, 6)
    half = js_distances(np.array([1, 0]), np.array([[1, 1]]))[0]
    assert three_sites([[0], [0], [0, 2]]) == round(2 / 3 * half, 6)
    assert three_sites([[0], [0], []]) == 0  # a site without labels cannot be compared
    assert three_sites([[0], [], []]) is None


def test_the_distance_of_known_mixes_is_known():
    # Mixes (1, 0) and (1/2, 1/2): the divergence is 1 - 3/4 * log2(3) + 1/2 in bits.
    expected = np.sqrt(1.5 - 0.75 * np.log2(3))
    found = js_distances(np.array([7, 0]), np.array([[1, 1], [7, 0], [0, 4]]))
    assert found.tolist() == pytest.approx([expected, 0, 1])


def test_a_site_without_labels_has_no_distance():
    found = js_distances(np.array([1, 2]), np.array([[0, 0], [1, 2]]))
    assert np.isnan(found[0])
    assert found[1] == 0
    assert np.isnan(js_distances(np.array([0, 0]), np.array([[1, 2]]))[0])


def test_a_class_that_one_of_two_sites_annotates_and_never_shows_counts():
    assert js_distances(np.array([0, 5]), np.array([[5, 0]]))[0] == 1


def test_a_class_that_some_of_a_sites_examples_annotate_is_counted_over_these():
    labels = COHORT.labels.copy()
    labels[0, 0] = -1  # one of site-1's two examples of the first class
    cohort = COHORT.take(np.arange(len(COHORT)))
    cohort.__dict__["labels"] = labels
    assert label_counts(cohort, PARTITION)[0, 0] == 1
    labels[:3, 0] = -1
    assert label_counts(cohort, PARTITION)[0, 0] == -1
