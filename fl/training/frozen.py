"""Layers that stay as they were loaded: `--freeze features`."""

from functools import lru_cache

from torch import nn

from fl.ecg.tasks import TASKS
from fl.models import build_network, parts_of
from fl.models.network_parts import network_layout
from fl.util.errors import ConfigError

FEATURES = "features"  # the value of --freeze that freezes what is not in `NetworkParts.classifier`


@lru_cache(maxsize=32)
def frozen_entries(freeze: str, model: str, task: str) -> frozenset[str]:
    """Entries of the state dict that stay as they were loaded; none unless `--freeze features`.

    `ConfigError` if the network does not declare layers that could be trained without the others.
    """
    if freeze != FEATURES:
        return frozenset()
    trained = set(parts_of(model, TASKS[task]).classifier)
    frozen = build_network(model, TASKS[task]).state_dict().keys() - trained
    if not trained or not frozen:
        lacks = "trained without the others" if frozen else "frozen"
        raise ConfigError(
            f"--freeze is {freeze!r}, but --model {model} declares no layers that could be {lacks} "
            "(`classifier` in fl/models/network_parts.py). Leave --freeze out, or use another "
            "network."
        )
    return frozenset(frozen)


def network_to_train(model: str, task: str, freeze: str) -> nn.Module:
    """A network whose frozen parameters need no gradient: training neither computes nor uses one.

    What precedes them in the forward pass then needs no gradient either, which is where the time
    is saved. Its weights are drawn from torch's global random state.
    """
    frozen = frozen_entries(freeze, model, task)
    network = build_network(model, TASKS[task])
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return network


def trained_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are not frozen, by name."""
    parameters = network_layout(network).parameters
    return {name: p for name, p in parameters.items() if p.requires_grad}


def train_mode(network: nn.Module) -> None:
    """Training mode, but evaluation mode for every module whose parameters are all frozen.

    Its normalisation then uses the running statistics it was loaded with and does not change them,
    and it has no dropout: its output for a recording is always the same.
    """
    parameters = network_layout(network).parameters.values()
    if all(parameter.requires_grad for parameter in parameters):
        # Most networks. To set a mode that all modules have takes time at every small site, and
        # the search below as long as a training step. Modes are set for a whole network.
        if not network.training:
            network.train()
        return
    network.train()
    for module in network.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
