"""How processes share the memory of a GPU, and how arrays get there. No effect on a CPU."""

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Training stores all weights of a network in one row (`fl.training.flat_parameters`). cuDNN needs
# those of an LSTM in its own order, copies them at every step (ten small copies) and warns of it.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")

# Of a GPU's memory; the rest is for the server and for what CUDA itself takes in each process.
WORKERS_SHARE = 0.9


def to_device(array: NDArray[Any], device: torch.device | str) -> Tensor:
    """An array as a tensor on the device. On a CPU it is the same memory.

    It does not wait for the copy, which comes after everything that the GPU still has to do. CUDA
    copies ordinary memory before the call returns, so the array may be changed afterwards.
    """
    return torch.from_numpy(array).to(device, non_blocking=True)


def limit_gpu_memory(share: float) -> None:
    """Let this process take no more than its share of the GPU's memory, if there is a GPU.

    A process that asks for more then fails itself, and no other one does.
    """
    if share and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(WORKERS_SHARE * share)


def free_gpu_memory(device: torch.device) -> float:
    """Bytes that this process may still take on the device."""
    if device.type != "cuda":
        return math.inf
    free, total = torch.cuda.mem_get_info(device)
    # An older torch does not report the share. Then what is free is the only limit.
    fraction = getattr(torch.cuda, "get_per_process_memory_fraction", lambda: 1.0)()
    return float(np.clip(fraction * total - torch.cuda.memory_reserved(device), 0, free))
