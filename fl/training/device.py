"""The device, precision and threads that a network is trained with."""

import contextlib
import ctypes
import functools
import sys

import torch

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


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def one_thread() -> None:
    """Let torch use one thread: sums must not depend on how many cores a machine has."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep the memory of a training step for the next one.

    glibc hands large blocks back at once, and the kernel clears them again for the next step: up
    to 800 page faults a step of the default network, 2 of its 22 ms.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # the largest it takes
        mallopt(M_TRIM_THRESHOLD, 256 * 2**20)


def check_device(device: str) -> None:
    """`ConfigError` if the device is a GPU and this machine has none that torch can use."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is 'cuda', but torch finds no GPU here. Use --device cpu.")
