"""What is known of a source's patients, and which of them are central."""

import numpy as np
import pytest
from support.made_cohorts import made_cohort, made_shard

from fl.data.cohort import Cohort
from fl.datasets.mitdb import DS2
from fl.ecg.tasks import BEAT, BEAT7, RHYTHM
from partitions.patients import count_groups, patients_of_source

ONE_EACH = [f"P{i:03d}" for i in range(40)]


def found(cohort, source="made-up", seed=0):
    return patients_of_source(cohort, source, seed)


def test_a_patient_has_the_sum_of_all_examples():
    made = found(made_cohort(["b", "a", "b", "b"], [[0], [], [0, 3], [3]]))
    assert made.table.sizes.tolist() == [1, 3]
    assert made.number.tolist() == [1, 0, 1, 1]
    assert made.positive[:, [0, 3]].tolist() == [[0, 0], [2, 2]]
    assert made.positive.sum() == 4


def test_only_patients_of_the_source_are_counted():
    shards = [made_shard(["a", "b"], [[0], [1]], source=name) for name in ("one", "two")]
    made = found(Cohort.of(RHYTHM, shards), "two")
    assert made.rows.tolist() == [2, 3]
    assert len(made.table) == 2


def test_a_patient_on_two_devices_belongs_to_the_first():
    cohort = made_cohort(["a", "b", "a"], groups=["x", "y", "z"])
    assert found(cohort).table.groups.tolist() == ["x", "y"]


def test_the_main_class_is_that_of_most_examples():
    cohort = made_cohort(["a", "a", "a", "b", "c"], [[0], [5], [5], [5], [5]])
    assert found(cohort).table.labels.tolist() == [5, 5, 5]


def test_of_two_equally_frequent_classes_the_main_one_is_the_rarer():
    cohort = made_cohort(["a", "a", "b", "c", "d"], [[2], [6], [2], [2], [6]])
    assert found(cohort).table.labels[0] == 6
    cohort = made_cohort(["a", "a", "b", "c", "d"], [[2], [6], [6], [6], [2]])
    assert found(cohort).table.labels[0] == 2


def test_a_rare_class_is_not_the_main_one_of_a_patient_who_mostly_shows_another():
    others = [f"o{i}" for i in range(9)]
    labels = [[8], [8], [0], *[[c] for c in (8, 8, 8, 8, 7, 7, 6, 6, 5)]]
    assert found(made_cohort(["a", "a", "a", *others], labels)).table.labels[0] == 8


def test_patients_without_any_class_are_a_class_of_their_own():
    assert found(made_cohort(["a", "b"], [[], [8]])).table.labels.tolist() == [9, 8]


def test_15_percent_of_the_patients_are_central():
    assert found(made_cohort(ONE_EACH)).central.sum() == 6
    assert found(made_cohort(ONE_EACH, task=BEAT)).central.sum() == 6


def test_every_class_that_two_patients_have_is_central_and_at_the_sites():
    labels = [[c] for c in (*[0] * 2, *[1] * 3, *[2] * 15, *[3] * 20)]
    made = found(made_cohort(ONE_EACH, labels))
    for of_class in (made.positive[:, c] > 0 for c in range(4)):
        assert 0 < made.central[of_class].sum() < of_class.sum()


def test_central_patients_depend_on_the_seed():
    one, other = (found(made_cohort(ONE_EACH), seed=seed).central for seed in (0, 1))
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize(("task", "by_protocol"), [(BEAT, True), (RHYTHM, False)])
def test_ds2_is_central_for_the_heartbeats_of_mitdb_only(task, by_protocol):
    recordings = np.array([f"1{i:02d}" for i in range(25)])
    made = found(made_cohort(recordings, source="mitdb", task=task, recordings=recordings), "mitdb")
    assert (made.central.tolist() == np.isin(recordings, DS2).tolist()) is by_protocol


def test_of_the_paced_patients_one_of_each_lead_is_central():
    recordings = np.array(["101", "100", "102", "104", "107", "217"])
    made = found(
        made_cohort(recordings, source="mitdb", task=BEAT7, recordings=recordings), "mitdb"
    )
    of = dict(zip(sorted(recordings), made.central.tolist(), strict=True))
    assert of == {"100": 1, "101": 0, "102": 0, "104": 1, "107": 0, "217": 1}


def test_groups_of_central_patients_are_not_counted():
    one_device_each = made_cohort(ONE_EACH, groups=ONE_EACH)
    assert count_groups(one_device_each, ["made-up"], seed=0) == {"made-up": 34}
    assert count_groups(made_cohort(ONE_EACH), ["made-up"], seed=0) == {"made-up": 1}
