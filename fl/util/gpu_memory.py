"""What is done otherwise where networks run on a GPU. On a CPU nothing here does anything."""

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Training lays all weights end to end (`fl.training.flat_parameters`), where cuDNN does not look
# for those of an LSTM: it gathers them at every step, some ten small copies, and says so.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")

WORKERS_SHARE = (
    0.9  # of a GPU's memory; the server has the rest, and what CUDA takes for each process
)


def to_device(array: NDArray[Any], device: torch.device | str) -> Tensor:
    """An array as a tensor on the device. On a CPU it is the same memory.

    To wait until it has arrived would be to wait for everything the GPU still has to do. CUDA sets
    ordinary memory aside before the call returns, so the array may be changed afterwards.
    """
    return torch.from_numpy(array).to(device, non_blocking=True)


def limit_gpu_memory(share: float) -> None:
    """Let this process take no more than its share of the GPU's memory, if there is a GPU.

    A process that wants more fails by itself, and not one of those beside it.
    """
    if share and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(WORKERS_SHARE * share)


def free_gpu_memory(device: torch.device) -> float:
    """Bytes that this process may still take on the device."""
    if device.type != "cuda":
        return math.inf
    free, total = torch.cuda.mem_get_info(device)
    # Older torch cannot tell the share; what is free then has to do.
    fraction = getattr(torch.cuda, "get_per_process_memory_fraction", lambda: 1.0)()
    return float(np.clip(fraction * total - torch.cuda.memory_reserved(device), 0, free))
