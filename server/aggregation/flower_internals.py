"""What Flower's strategy objects remember from round to round, so that a run can be resumed.

Flower does not document the attributes below, so they are used only with the exact versions on
which the tests passed. With another version a strategy keeps its memory to itself: it trains as
Flower wrote it, and a run of it cannot be resumed (`check_resumable`).
"""

import logging
from importlib.metadata import version

import numpy as np
from flwr.serverapp.strategy import Strategy

from fl.training.state_dict import Weights
from fl.util.errors import ConfigError
from server.aggregation.strategies import STRATEGIES

TESTED = ("1.41.0",)
MEMORY = ("m_t", "v_t", "momentum_vector")


def memory_is_saved(name: str) -> bool:
    """Whether a checkpoint holds all that a strategy of this name remembers."""
    return not STRATEGIES[name].remembers or version("flwr") in TESTED


def warn_if_not_resumable(name: str) -> None:
    """One line, before the first round, where the run could not be resumed."""
    if not memory_is_saved(name):
        logging.getLogger("heartfed").warning("%s", _reason(name))


def check_resumable(name: str, saved: bool) -> None:
    """`ConfigError` unless a strategy can go on from a checkpoint that `saved` its memory."""
    if not (saved and memory_is_saved(name)):
        raise ConfigError(
            f"--resume: {_reason(name)} Start a new run, or use a tested version for all of it."
        )


def _reason(name: str) -> str:
    return (
        f"{name} remembers earlier rounds in Flower's own object, which is saved for a resumed "
        f"run with Flower {', '.join(TESTED)} only (installed: {version('flwr')})."
    )


def forget_merged_arrays(strategy: Strategy) -> None:
    """Let a strategy begin the next round from what is sent, as after a resumption.

    FedAvgM keeps its own copy of what it merged, of another type than what is sent.
    """
    if version("flwr") in TESTED and hasattr(strategy, "current_arrays"):
        strategy.current_arrays = None


def strategy_memory(strategy: Strategy) -> Weights:
    """What a strategy remembers, as named arrays for a checkpoint."""
    memory: Weights = {}
    if version("flwr") not in TESTED:
        return memory
    for field in MEMORY:
        value = getattr(strategy, field, None)
        items = value.items() if isinstance(value, dict) else enumerate(value or [])
        memory |= {f"{field}/{key}": np.asarray(array) for key, array in items}
    return memory


def restore_memory(strategy: Strategy, memory: Weights) -> None:
    """Give a new strategy the arrays that `strategy_memory` returned."""
    if version("flwr") not in TESTED:
        return
    for field in MEMORY:
        start = f"{field}/"
        named = {k.removeprefix(start): v for k, v in memory.items() if k.startswith(start)}
        if not named:
            continue
        as_list = field == "momentum_vector"
        value = [named[str(i)] for i in range(len(named))] if as_list else named
        setattr(strategy, field, value)
