"""Dropout of another strength than the network's own, for as long as it is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def dropout_set_to(network: nn.Module, p: float) -> Iterator[None]:
    """Every dropout layer drops the share `p` of its inputs; below 0: as the network has it.

    Afterwards each layer has its own share again: one network serves several trainings.
    Source of dropout: Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a.html.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Dropout) and p >= 0]
    own = [layer.p for layer in layers]
    for layer in layers:
        layer.p = p
    try:
        yield
    finally:
        for layer, share in zip(layers, own, strict=True):
            layer.p = share
