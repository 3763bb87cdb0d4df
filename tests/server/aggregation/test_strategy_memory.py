"""What a strategy remembers is taken from it and given to a new one, unchanged."""

from types import SimpleNamespace

import numpy as np
import pytest

from fl.util.errors import ConfigError
from server.aggregation import flower_internals
from server.aggregation.flower_internals import (
    check_resumable,
    forget_merged_arrays,
    memory_is_saved,
    restore_memory,
    strategy_memory,
)

MOMENTS = {"w": np.array([1.0, 2.0]), "b": np.array([3.0])}
VELOCITY = {name: value**2 for name, value in MOMENTS.items()}


@pytest.fixture(params=[True, False], ids=["tested", "untested"])
def tested(request, monkeypatch):
    """Whether the installed Flower is one on which the tests passed."""
    monkeypatch.setattr(flower_internals, "is_tested", lambda *_: request.param)
    return request.param


def as_lists(value):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {key: array.tolist() for key, array in items}


@pytest.mark.usefixtures("tested")
@pytest.mark.parametrize("name", ["fedavg", "fedmedian", "scaffold"])
def test_a_strategy_without_memory_is_left_alone(name, tested):
    strategy = SimpleNamespace(m_t=MOMENTS, current_arrays="sent")
    assert strategy_memory(name, strategy) == {}
    forget_merged_arrays(name, strategy)
    restore_memory(name, strategy, {"m_t/w": MOMENTS["b"]})
    assert vars(strategy) == {"m_t": MOMENTS, "current_arrays": "sent"}
    assert memory_is_saved(name)
    check_resumable(name, saved=True)


def test_memory_is_known_with_tested_versions_alone(tested):
    assert memory_is_saved("fedadam") is tested
    assert bool(strategy_memory("fedadam", SimpleNamespace(m_t=MOMENTS))) is tested
    strategy = SimpleNamespace(current_arrays="merged")
    forget_merged_arrays("fedavgm", strategy)
    assert (strategy.current_arrays is None) is tested
    new = SimpleNamespace()
    restore_memory("fedadam", new, {"m_t/w": MOMENTS["w"]})
    assert bool(vars(new)) is tested


@pytest.mark.parametrize("saved", [True, False])
def test_a_run_goes_on_if_its_memory_was_saved_and_can_be_restored(tested, saved):
    if saved and tested:
        check_resumable("fedadam", saved)
    else:
        with pytest.raises(ConfigError, match="fedadam remembers"):
            check_resumable("fedadam", saved)


def test_moments_and_a_list_of_momenta_come_back_as_they_were():
    names = [np.full(2, float(i)) for i in range(12)]  # as text, 10 would come before 2
    for remembered in ({"m_t": MOMENTS, "v_t": VELOCITY}, {"momentum_vector": names}):
        name = "fedavgm" if "momentum_vector" in remembered else "fedyogi"
        memory = strategy_memory(name, SimpleNamespace(**remembered))
        new = SimpleNamespace(m_t=None, v_t=None, momentum_vector=[])
        restore_memory(name, new, memory)
        for field, value in remembered.items():
            assert type(getattr(new, field)) is type(value)
            assert as_lists(getattr(new, field)) == as_lists(value)
        untouched = {"m_t": None, "v_t": None, "momentum_vector": []}
        for field in untouched.keys() - remembered.keys():
            assert getattr(new, field) == untouched[field]


def test_a_strategy_that_remembers_nothing_yet_has_no_memory():
    assert strategy_memory("fedavgm", SimpleNamespace(momentum_vector=[])) == {}
    assert strategy_memory("fedadam", SimpleNamespace(m_t=None, v_t=None)) == {}
