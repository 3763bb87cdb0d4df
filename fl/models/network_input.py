"""What a network reads: signals, or features alone; single examples, or rows of neighbours."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """What a network says about its input, as its attribute `input`."""

    signal: bool = True  # False: only the features are read, and batches have empty signals
    # Examples of one recording, in order of time, that are read together; 1: each by itself. A
    # batch then holds whole rows, one after the other, and its size is a multiple of this.
    row: int = 1
    later: bool = True  # False: an example's scores depend on it and those before it in its row


def network_input(network: nn.Module) -> NetworkInput:
    """What the network reads; without an attribute `input`, the signal of each example."""
    declared = getattr(network, "input", None)
    return declared if isinstance(declared, NetworkInput) else NetworkInput()
