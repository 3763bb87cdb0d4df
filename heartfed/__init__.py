"""HeartFed from Python: `from heartfed import simulate, load_model`.

    folder = simulate(clients=4, rounds=5, data="synthetic")
    run = read_run(folder)
    model = load_model(folder / "weights" / "fedavg-best.safetensors")
    print(predict(model, "A0001.hea"))

What it offers is loaded when it is first used: torch, Flower and Ray take seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

import fl  # first: it turns telemetry off before flwr and ray are imported

if TYPE_CHECKING:
    from fl.util.errors import ConfigError, DataError, FederationError
    from heartfed.api import load_model, predict, read_run, simulate

__version__ = fl.__version__
__all__ = [
    "ConfigError",
    "DataError",
    "FederationError",
    "load_model",
    "predict",
    "read_run",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"heartfed has no {name!r}. It has: {', '.join(__all__)}.")
    home = "fl.util.errors" if name.endswith("Error") else "heartfed.api"
    return getattr(importlib.import_module(home), name)
