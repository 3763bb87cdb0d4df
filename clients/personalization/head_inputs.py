"""What the head of a network reads of each example, and what the network does after its head."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.data.cohort import Cohort, Indices
from fl.training.device import mixed_precision, one_thread
from fl.training.loop import crop_batches, logits_of

Arrays = NDArray[np.float32]
AfterHead = Callable[[Tensor, Tensor], Tensor]  # (row, class), (row, feature) -> (row, class)
AFTER_HEAD = ("after_head", "early")  # attributes of a network that hold what follows its head
ROUNDING = 1e-3  # of a logit: sums of 32-bit numbers in another order


@dataclass(frozen=True, kw_only=True)
class HeadInputs:
    """What a network's head reads of the crops of a cohort's examples."""

    inputs: Arrays  # (crop, width)
    features: Arrays  # (crop, feature) for what follows the head
    example: Indices  # (crop,) number of its example


def linear_head(network: nn.Module) -> nn.Linear | None:
    """The head that the network declares as `head`; None if it is not one linear layer."""
    head = getattr(network, "head", None)
    return head if isinstance(head, nn.Linear) and head.bias is not None else None


def after_head(network: nn.Module) -> nn.Module | None:
    """The module that changes the logits of the head, if the network has one."""
    found = (getattr(network, name, None) for name in AFTER_HEAD)
    return next((module for module in found if isinstance(module, nn.Module)), None)


def head_inputs(network: nn.Module, cohort: Cohort, device: str = "cpu") -> HeadInputs | None:
    """What the head reads, once for each crop that `predict` averages over.

    None if the network has no linear head, or does something with its logits that is not known
    here: then no head can be fitted apart from the rest.
    """
    head = linear_head(network)
    if head is None:
        return None
    one_thread()
    network.to(device).eval()
    read: list[Tensor] = []
    taken = head.register_forward_pre_hook(lambda _, given: read.append(given[0].float()))
    kept: list[list[Tensor]] = []  # of each batch: inputs, features, logits
    examples: list[Indices] = []
    try:
        with torch.inference_mode(), mixed_precision(device, None):
            for batch, example, used in crop_batches(network, cohort, device=device):
                read.clear()
                logits = logits_of(network, batch)
                rows = torch.from_numpy(np.flatnonzero(used))
                parts = (torch.cat(read).cpu(), batch.features.cpu(), logits.float().cpu())
                if len(parts[0]) != len(example):
                    return None  # the head reads something else than one row for each example
                kept.append([part[rows] for part in parts])
                examples.append(example[used])
    finally:
        taken.remove()
    if not kept:
        return None
    inputs, features, logits = (torch.cat(parts) for parts in zip(*kept, strict=True))
    found = HeadInputs(
        inputs=inputs.numpy(),
        features=features.numpy(),
        example=np.concatenate(examples),
    )
    return found if _gives(network, found, logits) else None


def _gives(network: nn.Module, found: HeadInputs, logits: Tensor) -> bool:
    """Whether head and what follows it make the network's own logits of these inputs."""
    head = linear_head(network)
    assert head is not None  # or there are no inputs
    inputs, features = torch.from_numpy(found.inputs), torch.from_numpy(found.features)
    with torch.inference_mode():
        own = nn.functional.linear(inputs, head.weight.cpu(), head.bias.cpu())
        module = after_head(network)
        if module is not None:
            device: Any = head.weight.device
            own = module(own.to(device), features.to(device)).cpu()
    return bool(torch.allclose(own, logits, rtol=ROUNDING, atol=ROUNDING))
