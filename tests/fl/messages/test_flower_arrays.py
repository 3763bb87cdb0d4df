"""Weights become Flower records and come out the same, with our arrays and with Flower's own."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord

from fl.messages import flower_arrays
from fl.messages.flower_arrays import copy_arrays, from_array_record, to_array_record

WEIGHTS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not laid out row by row
    "count": np.array(3, np.int64),
    "odd": np.array([np.nan, -0.0, 1e-300]),
}


class Lookup:
    """A mapping that counts how often a value is asked for."""

    def __init__(self, weights):
        self.weights, self.asked = weights, 0

    def __iter__(self):
        return iter(self.weights)

    def __getitem__(self, name):
        self.asked += 1
        return self.weights[name]


@pytest.fixture(params=[True, False], ids=["our arrays", "Flower's arrays"])
def ours(request, monkeypatch):
    """Both ways: with the tested version of Flower, and with another."""
    monkeypatch.setattr(flower_arrays, "without_copies", lambda: request.param)
    return request.param


def equal(one, other):
    return one.keys() == other.keys() and all(
        (one[k].dtype, one[k].shape, one[k].tobytes())
        == (other[k].dtype, other[k].shape, other[k].tobytes())
        for k in one
    )


def test_every_bit_comes_out_as_it_went_in(ours):
    assert equal(from_array_record(to_array_record(WEIGHTS)), WEIGHTS)
    assert equal(from_array_record(to_array_record(Lookup(WEIGHTS))), WEIGHTS)
    assert from_array_record(to_array_record({})) == {}


def test_with_another_version_the_arrays_are_flowers_own(ours):
    kinds = {type(array) for array in to_array_record(WEIGHTS).values()}
    assert (kinds == {Array}) is not ours


def test_our_arrays_are_not_copied_and_looked_up_when_asked_for():
    record = to_array_record(WEIGHTS)
    assert record["odd"].numpy() is WEIGHTS["odd"]
    lookup = Lookup(WEIGHTS)
    record = to_array_record(lookup)
    assert lookup.asked == 0
    assert (record["odd"].shape, record["odd"].dtype) == ((3,), "float64")


def test_copies_do_not_change_with_the_memory_they_came_from(ours):
    memory = np.zeros(4)
    record = to_array_record({"x": memory})
    record["y"] = Array(np.ones(2))
    copy_arrays(record)
    memory += 1
    assert from_array_record(record)["x"].tolist() == [0.0] * 4
    assert from_array_record(record)["y"].tolist() == [1.0] * 2


def test_our_array_has_the_bytes_of_flowers():
    ours, flowers = to_array_record(WEIGHTS), ArrayRecord({k: Array(v) for k, v in WEIGHTS.items()})
    for name, array in flowers.items():
        assert ours[name].data == Array(np.asarray(WEIGHTS[name], order="C")).data
        assert (ours[name].dtype, ours[name].shape) == (array.dtype, array.shape)


def test_the_tested_version_is_the_one_installed(monkeypatch):
    monkeypatch.delenv("HEARTFED_PUBLIC_ONLY", raising=False)
    assert flower_arrays.without_copies()
    monkeypatch.setenv("HEARTFED_PUBLIC_ONLY", "1")
    assert not flower_arrays.without_copies()
