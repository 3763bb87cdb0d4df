"""What stays at a site from round to round."""

import numpy as np
import pytest

from clients.client_state import ClientState


def test_a_site_keeps_its_last_two_rounds_and_looks_before_a_round(tmp_path):
    state = ClientState(tmp_path)
    for number in (1, 3, 4):
        state.put(number, {"w": np.full(1, number)})
    assert state.before(5)["w"] == [4]
    assert state.before(4)["w"] == [3]
    assert state.before(3) == {}


def test_state_that_is_not_pruned_keeps_every_round(tmp_path):
    state = ClientState(tmp_path, prune=False)
    for number in (1, 2, 3, 4):
        state.put(number, {"w": np.full(1, number)})
    assert [state.before(number)["w"].item() for number in (2, 3, 4, 5)] == [1, 2, 3, 4]


def test_no_arrays_come_back_as_no_arrays(tmp_path):
    ClientState(tmp_path).put(1, {})
    assert ClientState(tmp_path).before(2) == {}


def test_rounds_are_in_the_order_of_their_numbers(tmp_path):
    state = ClientState(tmp_path)
    for number in (9, 10, 1_000_000):
        state.put(number, {"w": np.full(1, number)})
    assert state.before(2_000_000)["w"] == [1_000_000]
    assert state.before(1_000_000)["w"] == [10]
    assert [path.name for path in sorted(tmp_path.glob("0*"))] == ["000010.safetensors"]


def test_a_round_done_again_replaces_what_it_kept(tmp_path):
    state = ClientState(tmp_path)
    for value in (1, 2):
        state.put(3, {"w": np.full(1, value)})
    assert state.before(4)["w"] == [2]


def test_nothing_is_before_the_first_round(tmp_path):
    assert ClientState(tmp_path / "none").before(1) == {}


@pytest.mark.parametrize("synced", [True, False])
def test_what_is_kept_waits_for_the_disk_only_where_it_should(tmp_path, monkeypatch, synced):
    waited = []
    monkeypatch.setattr("os.fsync", waited.append)
    ClientState(tmp_path, synced=synced).put(1, {"w": np.ones(1)})
    assert bool(waited) == synced
    assert ClientState(tmp_path).before(2)["w"] == [1]
