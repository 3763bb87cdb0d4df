"""Updates of many sites leave memory and come back as they were."""

import numpy as np
import pytest
from support.rounds import digest, run

import server.aggregation.kept_updates
from server.aggregation.update_store import UpdateStore, update_store_for

ARRAYS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a.bias": np.array([0.1, -np.pi], dtype=np.float64),
    "steps": np.array(7, dtype=np.int64),
    "none": np.zeros((0, 5), dtype=np.float32),
}


def same(one, other):
    return list(one) == list(other) and all(
        one[k].dtype == other[k].dtype and np.array_equal(one[k], other[k]) for k in one
    )


def test_a_stored_update_reads_as_it_was_written(tmp_path):
    store = UpdateStore(tmp_path)
    doubled = {name: 2 * values for name, values in ARRAYS.items()}
    first, second = store.put(ARRAYS), store.put(doubled)
    assert same(first, ARRAYS)
    assert same(second, doubled)
    assert same(first, ARRAYS), "a second look gives the same"
    assert list(tmp_path.iterdir()) == [], "its file has no name that could be left behind"


def test_a_store_is_used_where_updates_would_fill_memory(tmp_path):
    weights = {"w": np.zeros(2**18, dtype=np.float32)}  # a megabyte
    assert update_store_for(8, weights, tmp_path) is None
    assert update_store_for(1000, weights, tmp_path) is not None


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedmedian", "fedadam"])
def test_a_run_with_stored_updates_gives_the_same_weights(make_job, monkeypatch, strategy):
    plain = make_job(3, strategy=strategy, name="plain")
    run(plain)
    used = []

    def always(sites, weights, folder):
        used.append(sites)
        return UpdateStore(folder)

    monkeypatch.setattr(server.aggregation.kept_updates, "update_store_for", always)
    job = make_job(3, strategy=strategy, name="stored")
    watching, _ = run(job)
    assert used
    assert set(used) == {3}
    assert watching.failed == []
    assert digest(job) == digest(plain)


def test_updates_that_just_fit_stay_in_memory(tmp_path):
    weights = {name: np.zeros(2**17, dtype=np.float32) for name in ("w", "b")}  # a megabyte
    assert update_store_for(64, weights, tmp_path) is None
    assert update_store_for(65, weights, tmp_path) is not None


def test_a_store_that_nothing_refers_to_closes_its_file(tmp_path):
    store = UpdateStore(tmp_path)
    stored = store.put(ARRAYS)
    file = store._file
    del store
    assert not file.closed, "the update still reads from it"
    del stored
    assert file.closed
