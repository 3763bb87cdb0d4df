"""What a site tests after the federation has ended."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn


@dataclass(frozen=True, kw_only=True)
class OwnModel:
    """What a site tests, what it did before, and whether that is now a model of its own."""

    network: nn.Module  # to be tested: the one that was sent, further trained, or another one
    steps: int = 0  # gradient steps, whether their result is kept or not
    changed: bool = False  # the model is no longer the one that was sent
    # (example, class) of the validation records, of models that have not seen each one's patient;
    # from these the site's thresholds are chosen. None: those of `network`.
    validated: NDArray[np.float64] | None = None
