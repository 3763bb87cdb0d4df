"""Where in a network a recording has become a row of numbers that only dense layers still read."""

from torch import nn


def embedding_layer(network: nn.Module) -> nn.Module:
    """The module whose input is the network's summary of an example: (batch, width).

    A network may name it in an attribute `embedding_layer`; those of `Network` name `dense`, whose
    input is the mean and the maximum over time, before any dense layer. Of any other network it is
    the attribute `head`, else its last `nn.Linear`. Raises ValueError if there is none.
    """
    named = getattr(network, "embedding_layer", "")
    if isinstance(named, str) and named:
        return network.get_submodule(named)
    head = getattr(network, "head", None)
    if isinstance(head, nn.Module):
        return head
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(
            f"{type(network).__name__} has no dense layer; give it an attribute `embedding_layer`, "
            "the name of the module whose input is (batch, width)"
        )
    return linear[-1]
