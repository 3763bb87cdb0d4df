"""The non-IID measure has known values, and the picture shows the counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from fl.data.cohort import Cohort
from fl.reports.figures.label_mix import label_mix_svg
from partitions.dealing import deal
from partitions.partition import Partition
from partitions.summary import js_distances, label_counts, non_iid, site_rows


def distance(first, second):
    return js_distances(np.array(first), np.array([second]))[0]


def test_equal_label_mixes_have_distance_0_and_disjoint_ones_distance_1():
    assert distance([3, 9, 0], [1, 3, 0]) == pytest.approx(0, abs=1e-7)
    assert distance([5, 0], [0, 2]) == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), min_size=1, max_size=9))
def test_the_distance_is_scipys(pairs):
    first, second = np.array(pairs).T
    ours = distance(first, second)
    assert ours == pytest.approx(distance(second, first))
    assert 0 <= ours <= 1
    divergence = jensenshannon(first, second, base=2)
    assert ours == pytest.approx(0 if np.isnan(divergence) else divergence, abs=1e-7)


def test_a_class_that_one_site_does_not_annotate_is_left_out_for_the_pair():
    assert distance([5, 5, -1], [2, 2, 80]) == pytest.approx(0, abs=1e-7)
    assert np.isnan(distance([5, -1], [-1, 5]))


def test_sites_with_skewed_labels_differ_more_than_iid_sites(cohort):
    def difference(scheme):
        return non_iid(cohort, deal(cohort, {"synthetic": 4, "synthetic-2lead": 2}, scheme, 0.5, 0))

    assert difference("iid") < difference("dirichlet") < difference("pathological")


def test_the_measure_of_a_single_site_is_none(cohort):
    site = np.full(len(cohort), "site-1")
    assert non_iid(cohort, Partition(site, site)) is None


def test_classes_that_a_site_does_not_annotate_are_unknown_in_its_counts(few: Cohort):
    partition = deal(few, {str(few.sources[0]): 2}, "iid", 0.5, seed=0)
    masked = few.take(np.arange(len(few)))
    masked.__dict__["labels"] = np.where(np.arange(9) == 2, -1, few.labels).astype(np.int8)
    counts = label_counts(masked, partition)
    assert (counts[:, 2] == -1).all()
    assert (np.delete(counts, 2, axis=1) >= 0).all()


def test_the_picture_is_the_same_every_time_and_names_every_site(cohort):
    partition = deal(cohort, {"synthetic": 3, "synthetic-2lead": 2}, "dirichlet", 0.5, seed=0)
    rows = site_rows(cohort, partition)
    picture = label_mix_svg(rows, cohort.task.classes, 0.25, synthetic=True)
    assert picture == label_mix_svg(rows, cohort.task.classes, 0.25, synthetic=True)
    text = picture.decode()
    assert all(name in text for name in [*partition.sites, "STE", "SYNTHETIC DATA", "(%)", ".250"])


def test_many_sites_still_make_a_picture(cohort):
    names = np.array([f"site-{i:03d}" for i in np.arange(len(cohort)) % 110])
    rows = site_rows(cohort, Partition(names, names))
    text = label_mix_svg(rows, cohort.task.classes, None).decode()
    named = [f"site-{i:03d}" for i in range(110) if f"site-{i:03d} (" in text]
    assert named == [f"site-{i:03d}" for i in range(0, 110, 2)]
    assert 0 < text.count("<path") < 110, "an area for each class, and no bar for each site"
