"""Which weights of a network belong to one class, to one lead, or learn at another rate.

A network declares these parts itself, so that nobody has to guess them from names.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)


@dataclass(frozen=True, kw_only=True)
class NetworkParts:
    """The entries of a network's state dict that are treated in a special way, by exact name."""

    head: tuple[str, ...] = ()  # entries with one row per class
    lead_columns: tuple[str, ...] = ()  # entries with one column (second axis) per lead
    rate_factors: Mapping[str, float] = field(default_factory=dict)  # of the learning rate
    # Entries that decide from what the others have read: all that `--freeze features` trains.
    classifier: tuple[str, ...] = ()

    def rate_factor(self, parameter: str) -> float:
        """What multiplies the learning rate of a parameter: 1 unless the network says otherwise."""
        return self.rate_factors.get(parameter, 1.0)


class NetworkLayout:
    """What a walk through all layers of a network finds; one walk takes longer than a small batch.

    It stays true while the network has the same layers and parameters, whatever their values.
    """

    def __init__(self, network: nn.Module) -> None:
        self.parts = network_parts(network)
        self.parameters: Mapping[str, nn.Parameter] = dict(network.named_parameters())
        # Whether parameters are all that the state dict holds: no buffers, and none of them twice.
        self.no_other_state = list(network.state_dict()) == list(self.parameters)


_LAYOUTS: WeakKeyDictionary[nn.Module, NetworkLayout] = WeakKeyDictionary()


def network_layout(network: nn.Module) -> NetworkLayout:
    """The layout of a network, found when it is first asked for."""
    found = _LAYOUTS.get(network)
    if found is None:
        found = _LAYOUTS[network] = NetworkLayout(network)
    return found


def _forget_layouts(*_: object) -> None:
    """A network, whichever, gets another layer or parameter."""
    _LAYOUTS.clear()


register_module_module_registration_hook(_forget_layouts)
register_module_parameter_registration_hook(_forget_layouts)
register_module_buffer_registration_hook(_forget_layouts)


def network_parts(network: nn.Module) -> NetworkParts:
    """The parts that a network declares as `parts`, else those that its modules declare.

    This is all that a network from outside has to know, and every item is optional:

    - `parts`, a `NetworkParts`, declares everything at once and is taken as it is;
    - an attribute `head` that is an `nn.Linear` is the head, one row per class;
    - a module with `lead_columns`, a tuple of its own parameters' names, has one column per
      lead in each of them;
    - a module with `rate_factor`, a number, has its parameters trained at that multiple of the
      learning rate;
    - an attribute `classifier`, a tuple of names of the network's own modules, says which decide
      from what the others have read; without it, the head alone.

    A network with none of these has no special parts.
    """
    declared = getattr(network, "parts", None)
    return declared if isinstance(declared, NetworkParts) else parts_of_modules(network)


def parts_of_modules(network: nn.Module) -> NetworkParts:
    """The parts that the modules of a network declare, each for its own parameters."""
    lead_columns: list[str] = []
    rate_factors: dict[str, float] = {}
    for name, module in network.named_modules():
        prefix = f"{name}." if name else ""
        lead_columns += [prefix + own for own in getattr(module, "lead_columns", ())]
        factor = getattr(module, "rate_factor", None)
        if factor is not None:
            rate_factors |= {prefix + own: float(factor) for own, _ in module.named_parameters()}
    head = getattr(network, "head", None)
    rows = [own for own, _ in head.named_parameters()] if isinstance(head, nn.Linear) else []
    return NetworkParts(
        head=tuple(f"head.{own}" for own in rows),
        lead_columns=tuple(lead_columns),
        rate_factors=rate_factors,
        classifier=tuple(_entries_of(network, getattr(network, "classifier", ("head",)))),
    )


def _entries_of(network: nn.Module, modules: Iterable[str]) -> Iterator[str]:
    """The entries of these modules of a network; one that it has not got has none."""
    for name in modules:
        module = getattr(network, name, None)
        if isinstance(module, nn.Module):
            yield from (f"{name}.{own}" for own in module.state_dict())


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


def check_parts(
    parts: NetworkParts, entries: Mapping[str, Tensor], *, classes: int, leads: int
) -> None:
    """`ValueError` if a declared entry does not exist or has another number of rows or columns.

    `entries` is the network's state dict.
    """
    declared = {*parts.head, *parts.lead_columns, *parts.rate_factors, *parts.classifier}
    if unknown := sorted(declared - entries.keys()):
        raise ValueError(f"the network declares parts it does not have: {', '.join(unknown)}")
    for axis, names, expected, unit in (
        (0, parts.head, classes, "row per class"),
        (1, parts.lead_columns, leads, "column per lead"),
    ):
        for name in names:
            shape = tuple(entries[name].shape)
            if len(shape) <= axis or shape[axis] != expected:
                raise ValueError(
                    f"the network declares that {name} has one {unit} ({expected}), but its "
                    f"shape is {shape}"
                )
