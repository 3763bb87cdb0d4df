"""The device, precision and threads that a network is trained with."""

import contextlib

import torch
from torch import nn

from fl.util.errors import ConfigError


def mixed_precision(
    device: str, enabled: bool | None = None
) -> contextlib.AbstractContextManager[object]:
    """A context in which convolutions and matrix products are computed in bfloat16.

    `enabled` None: only if the device is a GPU that supports bfloat16. Weights, loss and optimizer
    stay float32, and so do the parts of a network inside `full_precision`.
    """
    kind = torch.device(device).type
    if enabled is None:
        enabled = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(kind, torch.bfloat16) if enabled else contextlib.nullcontext()


def move_to(network: nn.Module, device: str) -> None:
    """Move a network to a device. One that is there is left alone: torch would visit every weight.

    A network's weights are all on one device.
    """
    first = next(network.parameters(), None)
    if first is None or first.device.type != torch.device(device).type:
        network.to(device)


def seed_dropout(seed: int, device: str) -> None:
    """Seed the random numbers that a network draws on a device.

    `torch.manual_seed` also notes the seed for a GPU that is never used, with the whole call stack.
    """
    if torch.device(device).type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def one_thread() -> None:
    """Let torch use one thread: sums must not depend on how many cores a machine has."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def check_device(device: str) -> None:
    """`ConfigError` if the device is a GPU and this machine has none that torch can use."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is 'cuda', but torch finds no GPU here. Use --device cpu.")
