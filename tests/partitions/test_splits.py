"""Splits keep their shares, and every class reaches every subset if enough patients have it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fl.util.random_streams import stream
from partitions.splits import CENTRAL_SHARES, SITE_SHARES, split_site, stratify

SHARES = [SITE_SHARES, CENTRAL_SHARES, (0.5, 0.5), (1.0,)]
tables = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40))
seeds = st.integers(0, 1000)


def one_class_each(counts):
    """(patient, class) where each patient has one class."""
    return np.eye(len(counts), dtype=bool)[np.repeat(np.arange(len(counts)), counts)]


@given(tables, st.sampled_from(SHARES), seeds)
def test_every_patient_gets_one_subset_and_sizes_are_near_the_shares(present, shares, seed):
    subset = stratify(present, shares, stream(seed, "split"))
    assert subset.shape == (len(present),)
    assert set(subset.tolist()) <= set(range(len(shares)))
    # Classes come before sizes, so each class may move a patient or two.
    tolerance = 2 + 2 * (present.shape[1] + 1)  # none of the classes counts as one
    sizes = np.bincount(subset, minlength=len(shares))
    assert (np.abs(sizes - np.array(shares) * len(present)) <= tolerance).all()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.sampled_from(SHARES), seeds)
def test_every_class_with_enough_patients_is_in_every_subset_in_its_share(counts, shares, seed):
    subset = stratify(one_class_each(counts), shares, stream(seed, "split"))
    class_of = np.repeat(np.arange(len(counts)), counts)
    for c, n in enumerate(counts):
        in_subset = np.bincount(subset[class_of == c], minlength=len(shares))
        assert (np.abs(in_subset - np.array(shares) * n) <= len(shares)).all()
        if n >= len(shares):
            assert in_subset.min() >= 1


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from(SHARES), seeds)
def test_patients_without_a_class_are_divided_like_a_class(shown, none, shares, seed):
    present = np.zeros((shown + none, 2), dtype=bool)
    present[:shown, 0] = True
    subset = stratify(present, shares, stream(seed, "split"))
    in_subset = np.bincount(subset[shown:], minlength=len(shares))
    assert (np.abs(in_subset - np.array(shares) * none) <= len(shares)).all()
    if none >= len(shares):
        assert in_subset.min() >= 1


@given(tables, seeds)
def test_the_same_stream_gives_the_same_split(present, seed):
    first, second = (stratify(present, SITE_SHARES, stream(seed, "split")) for _ in range(2))
    assert first.tolist() == second.tolist()


@given(tables, seeds)
def test_a_site_of_three_patients_or_more_trains_validates_and_tests(present, seed):
    splits = split_site(present, stream(seed, "split"))
    assert len(splits) == len(present)
    if len(present) >= 3:
        assert set(splits.tolist()) == {"train", "val", "test"}


@pytest.mark.parametrize(("n", "splits"), [(0, []), (1, ["train"]), (2, ["train", "val"])])
def test_a_site_with_fewer_patients_trains_first(n, splits):
    result = split_site(np.ones((n, 2), dtype=bool), stream(0, "split"))
    assert sorted(result.tolist()) == splits
