"""Dropout of another strength than the network's own, for as long as it is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from fl.models.blocks import SignalDropout


@contextmanager
def dropout_set_to(network: nn.Module, p: float, signal: float = -1.0) -> Iterator[None]:
    """Every dropout layer drops the share `p` of its inputs; below 0: as the network has it.

    `signal`: the share of training examples that show only their features, likewise. Afterwards
    each layer has its own share again: one network serves several trainings.
    Source of dropout: Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a.html.
    """
    if p < 0 and signal < 0:
        yield
        return
    layers: list[tuple[nn.Dropout | SignalDropout, float]] = []
    for module in network.modules():
        if isinstance(module, nn.Dropout) and p >= 0:
            layers.append((module, p))
        if isinstance(module, SignalDropout) and signal >= 0:
            layers.append((module, signal))
    own = [layer.p for layer, _ in layers]
    for layer, share in layers:
        layer.p = share
    try:
        yield
    finally:
        for (layer, _), share in zip(layers, own, strict=True):
            layer.p = share
