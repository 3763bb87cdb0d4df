"""What Flower's strategy objects remember from round to round, so that a run can be resumed.

Flower does not document the attributes below, so they are used only with the exact versions on
which the tests passed. With another version a strategy trains as Flower wrote it and keeps its
memory to itself, and a run of it cannot be resumed (`check_resumable`).
"""

import numpy as np
from flwr.serverapp.strategy import Strategy

from fl.training.state_dict import Weights
from fl.util.errors import ConfigError
from fl.util.tested_versions import is_tested
from server.aggregation.strategies import STRATEGIES

FLOWER_VERSIONS = ("1.41.0",)  # tested
MEMORY = ("m_t", "v_t", "momentum_vector")


def memory_is_saved(name: str) -> bool:
    """Whether a checkpoint holds all that the strategy remembers; if not, one line says so."""
    return not STRATEGIES[name].remembers or _attributes_are_known(name)


def check_resumable(name: str, saved: bool) -> None:
    """`ConfigError` unless the strategy can go on from a checkpoint that `saved` its memory."""
    if not (saved and memory_is_saved(name)):
        raise ConfigError(
            f"--resume: {name} remembers earlier rounds, and its memory is saved and restored only "
            f"with Flower {', '.join(FLOWER_VERSIONS)}. Start a new run, or use that version for "
            "all of it."
        )


def forget_merged_arrays(name: str, strategy: Strategy) -> None:
    """Let a strategy begin the next round from what is sent, as after a resumption.

    FedAvgM keeps its own copy of what it merged, of another type than what is sent.
    """
    if STRATEGIES[name].remembers and _attributes_are_known(name):
        strategy.current_arrays = None  # type: ignore[attr-defined]


def strategy_memory(name: str, strategy: Strategy) -> Weights:
    """What a strategy remembers, as named arrays for a checkpoint."""
    memory: Weights = {}
    if not (STRATEGIES[name].remembers and _attributes_are_known(name)):
        return memory
    for field in MEMORY:
        value = getattr(strategy, field, None)
        items = value.items() if isinstance(value, dict) else enumerate(value or [])
        memory |= {f"{field}/{key}": np.asarray(array) for key, array in items}
    return memory


def restore_memory(name: str, strategy: Strategy, memory: Weights) -> None:
    """Give a new strategy the arrays that `strategy_memory` returned."""
    if not (STRATEGIES[name].remembers and _attributes_are_known(name)):
        return
    for field in MEMORY:
        start = f"{field}/"
        named = {k.removeprefix(start): v for k, v in memory.items() if k.startswith(start)}
        if not named:
            continue
        as_list = field == "momentum_vector"
        value = [named[str(i)] for i in range(len(named))] if as_list else named
        setattr(strategy, field, value)


def _attributes_are_known(name: str) -> bool:
    otherwise = f"what {name} remembers is not saved, so that this run cannot be resumed"
    return is_tested("flwr", FLOWER_VERSIONS, otherwise)
