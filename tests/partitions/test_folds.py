"""Folds inside the sites: every patient of a site is tested once, and nothing else changes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from support.made_cohorts import made_cohort

from fl.config.run_config import RunConfig
from fl.datasets.source_selection import SourceSelection
from fl.datasets.synthetic import SYNTHETIC
from fl.util.errors import ConfigError
from partitions.build import make_partition
from partitions.folds import fold_shares, smaller_than_folds, split_by_fold, with_test_fold
from partitions.partition import CENTRAL, UNSEEN, Partition, write_partition
from partitions.summary import site_rows

tables = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=30))
seeds = st.integers(0, 1000)
numbers = st.integers(2, 6)
SELECTION = SourceSelection(sources={"made-up": SYNTHETIC}, sites={"made-up": None}, holdout="")


def splits(present, folds, seed):
    """(fold, patient) the split of each patient in each run."""
    runs = range(1, folds + 1)
    return np.array([split_by_fold(present, folds, fold, seed, "site-1") for fold in runs])


@given(tables, numbers, seeds)
def test_every_patient_is_tested_in_one_run_and_in_the_others_trains_or_validates(
    present, folds, seed
):
    found = splits(present, folds, seed)
    assert ((found == "test").sum(axis=0) == 1).all()
    assert set(np.unique(found).tolist()) <= {"train", "val", "test"}


@given(tables, numbers, seeds)
def test_a_site_with_enough_patients_trains_validates_and_tests_in_every_run(present, folds, seed):
    for split in splits(present, folds, seed):
        others = len(present) - (split == "test").sum()
        assert (split == "train").any() == (others > 0)
        assert (split == "val").any() == (others > 1)
        assert (split == "test").any() or len(present) < folds


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), numbers, seeds)
def test_folds_share_each_class_and_validation_keeps_its_usual_share(counts, folds, seed):
    present = np.eye(len(counts), dtype=bool)[np.repeat(np.arange(len(counts)), counts)]
    class_of = present.argmax(axis=1)
    for split in splits(present, folds, seed):
        for c, n in enumerate(counts):
            tested = ((split == "test") & (class_of == c)).sum()
            assert abs(tested - n / folds) <= folds
        assert abs((split == "val").sum() - 0.15 * len(present)) <= 2 + 2 * len(counts)


def test_half_of_the_patients_still_train_most_of_the_rest():
    train, validation, test = fold_shares(2)
    assert (round(train, 9), validation, test) == (0.35, 0.15, 0.5)
    (split, _) = splits(np.ones((40, 1), dtype=bool), 2, 0)
    assert Counter(split.tolist()) == {"test": 20, "train": 14, "val": 6}


def cohort_of(patients, records=2):
    """Several records of each patient, with a class of the patient's own."""
    names = [f"P{i:03d}" for i in range(patients) for _ in range(records)]
    return made_cohort(names, [[i % 9] for i in range(patients) for _ in range(records)])


def config(**settings):
    return RunConfig(clients=4, partition="dirichlet", seed=3, **settings)


def partitions(cohort, folds, selection=SELECTION, **settings):
    runs = [config(site_folds=folds, site_fold=k, **settings) for k in range(1, folds + 1)]
    return [make_partition(run, selection, cohort) for run in runs]


@pytest.mark.parametrize("holdout", ["", "site-2"])
def test_in_every_run_the_same_patients_are_at_the_same_sites(holdout):
    cohort = cohort_of(90)
    selection = SourceSelection(sources=SELECTION.sources, sites=SELECTION.sites, holdout=holdout)
    ordinary = make_partition(config(holdout=holdout), selection, cohort)
    found = partitions(cohort, 3, selection, holdout=holdout)
    at_server = np.isin(ordinary.site, [CENTRAL, UNSEEN])
    assert at_server.any()
    for one in found:
        assert one.site.tolist() == ordinary.site.tolist()
        assert (one.split[at_server] == "test").all()
        pairs = set(zip(cohort.patients.tolist(), one.split.tolist(), strict=True))
        assert len(pairs) == len(set(cohort.patients.tolist()))  # no patient is in two splits
    tested = np.array([one.split == "test" for one in found])[:, ~at_server]
    assert (tested.sum(axis=0) == 1).all()
    assert len({one.split.tobytes() for one in found}) == 3


def test_a_run_over_all_folds_shows_the_first():
    cohort = cohort_of(60)
    shown = make_partition(config(site_folds=3), SELECTION, cohort)
    assert shown.split.tolist() == partitions(cohort, 3)[0].split.tolist()


def test_a_small_site_is_tested_in_fewer_folds_and_named():
    cohort = made_cohort("abcdefg")
    site = np.array(["site-1"] * 5 + ["site-2"] * 2)
    partition = Partition(site, np.full(7, "train", dtype="U5"))
    found = [with_test_fold(partition, cohort, 4, fold, 0) for fold in (1, 2, 3, 4)]
    tested = [one.rows("site-2", "test").tolist() for one in found]
    assert sorted(tested) == [[], [], [5], [6]]
    assert smaller_than_folds(site_rows(cohort, found[0]), 4) == {"site-2": 2}


def test_more_folds_than_the_largest_site_has_patients_are_refused():
    partition = Partition(np.array(["site-1"] * 2 + ["site-2"]), np.full(3, "train", dtype="U5"))
    with pytest.raises(ConfigError, match=r"--site-folds is 3, .* has 2 patients.*folds 2 or few"):
        with_test_fold(partition, made_cohort("abc"), 3, 1, 0)


def test_a_saved_partition_gives_the_sites_and_one_without_training_is_refused(tmp_path):
    cohort = cohort_of(60)
    first = partitions(cohort, 3)[0]
    path = tmp_path / "partition.csv"
    write_partition(path, cohort, Partition(first.site, np.full(len(cohort), "test")))
    saved = {"clients": 4, "partition": f"file:{path}", "seed": 3}
    folded = RunConfig(site_folds=3, site_fold=1, **saved)
    assert make_partition(folded, SELECTION, cohort).split.tolist() == first.split.tolist()
    with pytest.raises(ConfigError, match="no record of it is for training"):
        make_partition(RunConfig(**saved), SELECTION, cohort)


def test_a_hospital_folds_its_own_patients_without_knowing_the_others():
    cohort = cohort_of(60)
    whole = partitions(cohort, 3)[1]
    rows = np.flatnonzero(whole.site == "site-3")
    alone = Partition(whole.site[rows], whole.split[rows])
    again = with_test_fold(alone, cohort.take(rows), 3, 2, seed=3)
    assert again.split.tolist() == whole.split[rows].tolist()
