"""Every strategy has the name by which the literature knows it."""

from fl.config.run_config import LOCAL, POOLED
from fl.evaluation.strategy_names import STRATEGY_NAMES, strategy_name
from server.aggregation.strategies import STRATEGIES


def test_every_strategy_has_a_name():
    assert STRATEGY_NAMES.keys() == {*STRATEGIES, LOCAL, POOLED}
    assert len(set(STRATEGY_NAMES.values())) == len(STRATEGY_NAMES)


def test_a_strategy_from_outside_is_called_by_its_key():
    assert strategy_name("my-strategy") == "my-strategy"
