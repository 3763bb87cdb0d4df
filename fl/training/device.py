"""The device, precision and threads that a network is trained with."""

import contextlib

import torch

from fl.util.errors import ConfigError


def mixed_precision(
    device: str, wanted: bool | None = None
) -> contextlib.AbstractContextManager[object]:
    """While this lasts, convolutions and matrix products are done in bfloat16.

    `wanted` None: where the device is a GPU that can. Weights, loss and optimizer stay float32, and
    so do the parts of a network that `full_precision` names.
    """
    kind = torch.device(device).type
    if wanted is None:
        wanted = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(kind, torch.bfloat16) if wanted else contextlib.nullcontext()


def one_thread() -> None:
    """One thread per process: sums must not depend on how many cores a machine has."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def check_device(device: str) -> None:
    """`ConfigError` if the device is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is 'cuda', but torch finds no GPU here. Use --device cpu.")
