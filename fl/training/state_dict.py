"""Model weights as named arrays, and files of them."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from fl.config.run_config import RunConfig
from fl.config.strategy_traits import strategy_traits
from fl.ecg.tasks import TASKS
from fl.models import build_network
from fl.models.network_parts import network_layout
from fl.training.frozen import frozen_entries
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError
from fl.util.random_streams import torch_seed

Weights = dict[str, NDArray[Any]]
INITIAL = Path("checkpoint") / "initial.safetensors"  # of --init-from, in the run directory


@lru_cache(maxsize=8)
def local_entries(strategy: str, model: str, task: str, freeze: str = "none") -> frozenset[str]:
    """Entries that never leave a site: the normalisation layers where a strategy says so.

    They are the scale and shift of each GroupNorm and LayerNorm; frozen ones are no site's own.
    FedBN was made for BatchNorm (Li et al. 2021, arXiv:2102.07623), whose running statistics stay
    at the site too; these layers have none, and compute theirs from the one example.
    """
    if not strategy_traits(strategy).local_normalisation:
        return frozenset()
    network = build_network(model, TASKS[task])
    return frozenset(
        f"{name}.{entry}"
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.GroupNorm | torch.nn.LayerNorm)
        for entry, _ in module.named_parameters()
    ) - frozen_entries(freeze, model, task)


def unmerged_entries(config: RunConfig) -> frozenset[str]:
    """Entries that the server does not merge: a site's own, and frozen ones."""
    local = local_entries(config.strategy, config.model, config.task, config.freeze)
    return local | frozen_entries(config.freeze, config.model, config.task)


def check_local_entries(strategy: str, model: str, task: str, freeze: str = "none") -> None:
    """`ConfigError` if a strategy keeps normalisation layers and the network has none to keep."""
    keeps = strategy_traits(strategy).local_normalisation
    if keeps and not local_entries(strategy, model, task, freeze):
        frozen = freeze != "none" and local_entries(strategy, model, task)
        raise ConfigError(
            f"--strategy is {strategy!r}, which keeps normalisation layers at the sites, but "
            f"--model {model} has none{' outside its frozen layers' if frozen else ''}: it would "
            "be fedavg. Use fedavg, or another network."
        )


def get_weights(network: torch.nn.Module) -> Weights:
    """Copies of all entries of the state dict, by name."""
    return {k: v.cpu().numpy().copy() for k, v in _state_dict(network).items()}


def fresh_weights(config: RunConfig) -> Weights:
    """Weights drawn at random: the same for every run of this seed and model."""
    torch.manual_seed(torch_seed(config.seed, "init", config.model))
    return get_weights(build_network(config.model, TASKS[config.task]))


def set_weights(network: torch.nn.Module, weights: Mapping[str, NDArray[np.generic]]) -> None:
    """Load weights; names and shapes must match exactly."""
    own = _state_dict(network)
    if own.keys() == weights.keys() and all(_fits(weights[k], own[k]) for k in own):
        # Several times as fast as load_state_dict, which matters at a small site.
        for name, values in own.items():
            if values.is_cpu:
                np.copyto(values.numpy(), weights[name], casting="unsafe")
            else:
                values.copy_(torch.from_numpy(np.array(weights[name])))
    else:
        # Copies: torch shares memory with an array, and training would write into it.
        state = {k: torch.from_numpy(np.array(v)) for k, v in weights.items()}
        network.load_state_dict(state, strict=True)  # raises and names what differs


def _state_dict(network: torch.nn.Module) -> Mapping[str, torch.Tensor]:
    """The state dict, without a walk through all layers where it holds parameters alone."""
    layout = network_layout(network)
    if layout.no_other_state:
        return {name: parameter.detach() for name, parameter in layout.parameters.items()}
    state: dict[str, torch.Tensor] = network.state_dict()
    return state


def _fits(array: NDArray[np.generic], values: torch.Tensor) -> bool:
    """Whether an array has the shape of an entry, and numbers: numpy would read text as such."""
    return array.shape == values.shape and array.dtype.kind in "fiub"


def in_one_row(arrays: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """All values of all arrays, one after the other."""
    rows = [value.ravel() for value in arrays]
    return np.concatenate(rows, dtype=np.float64) if rows else np.zeros(0)


def mean_of_weights(rounds: Sequence[Weights], kept: Collection[str] = ()) -> Weights:
    """The mean over several rounds, each entry in its own type; `kept` ones are as in the last."""
    return {
        name: last
        if name in kept
        else np.mean([one[name] for one in rounds], axis=0, dtype=np.float64).astype(last.dtype)
        for name, last in rounds[-1].items()
    }


def save_weights(
    path: Path, weights: Weights, facts: dict[str, str] | None = None, synced: bool = True
) -> None:
    """Write a safetensors file, whole or not at all; `facts` go into its header.

    `synced`: as `write_atomically`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {k: np.asarray(v, order="C") for k, v in weights.items()}
    file = save(arrays, metadata=facts)
    write_atomically(path, _with_sorted_facts(file) if facts else file, synced=synced)


def _with_sorted_facts(file: bytes) -> bytes:
    """The same file with its facts sorted: safetensors writes them in no fixed order."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # spaces: the format aligns arrays to 8 bytes
    return len(text).to_bytes(8, "little") + text + file[start:]


def load_weights(path: Path) -> Weights:
    """Read a safetensors file."""
    return dict(load_file(path))
