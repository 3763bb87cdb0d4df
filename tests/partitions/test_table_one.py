"""Table 1 of a small cohort, each number written by hand."""

import numpy as np
from support.made_cohorts import made_cohort

from partitions.table_one import table_one

# a has two records, the second without a known sex and of another age; c is unknown in both.
COHORT = made_cohort(
    ["a", "a", "b", "c", "d"],
    [[0], [0, 1], [1], [], [0]],
    sexes=["F", "", "M", "", "F"],
    ages=np.array([40, 41, 60, np.nan, 80], dtype=np.float32),
)


def test_a_patient_counts_once_with_the_age_and_sex_of_the_first_record():
    found = table_one(COHORT)
    assert found["patients"] == 4
    assert found["age"] == {"low": 50.0, "median": 60.0, "high": 70.0, "unknown": 1}
    assert found["sex"] == {"female": 2, "male": 1, "unknown": 1}


def test_a_patient_shows_a_class_if_any_record_does():
    classes = list(table_one(COHORT)["classes"].values())
    assert classes[:3] == [
        {"positive": 2, "annotated": 4},
        {"positive": 2, "annotated": 4},
        {"positive": 0, "annotated": 4},
    ]


def test_a_class_that_was_not_annotated_is_unknown_for_its_patient():
    labels = np.zeros((2, len(COHORT.task.classes)), dtype=np.int8)
    labels[0, 0] = -1
    found = table_one(labelled(labels))
    first, second = list(found["classes"].values())[:2]
    assert first == {"positive": 0, "annotated": 1}
    assert second == {"positive": 0, "annotated": 2}


def labelled(labels):
    cohort = made_cohort("ab")
    cohort.labels[:] = labels
    return cohort


def test_without_any_known_age_there_is_no_median():
    found = table_one(made_cohort("ab"))
    assert found["age"] == {"low": None, "median": None, "high": None, "unknown": 2}
