"""Every strategy has the name by which the literature knows it."""

from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_objectives.base import no_step
from fl.config.run_config import NOT_FEDERATED
from fl.config.strategy_traits import POOLED_PERSONAL, STRATEGY_TRAITS
from fl.evaluation.strategy_names import (
    STRATEGY_NAMES,
    STRATEGY_NOTES,
    strategy_name,
    strategy_note,
)
from server.aggregation.strategies import STRATEGIES


def test_every_strategy_has_a_name():
    assert STRATEGY_NAMES.keys() == {*STRATEGIES, *NOT_FEDERATED}
    assert len(set(STRATEGY_NAMES.values())) == len(STRATEGY_NAMES)


def test_a_strategy_from_outside_is_called_by_its_key():
    assert strategy_name("my-strategy") == "my-strategy"


def test_a_strategy_whose_saved_model_is_not_the_hospitals_has_a_note():
    own_layers = {name for name, traits in STRATEGY_TRAITS.items() if traits.local_normalisation}
    own_models = {
        name for name, half in LOCAL_OBJECTIVES.items() if half.before_test is not no_step
    }
    assert STRATEGY_NOTES.keys() == own_layers | own_models | {POOLED_PERSONAL}
    assert strategy_note("fedbn").startswith("FedBN: The scale and shift")
    assert strategy_note("fedavg") == ""
