"""SCAFFOLD at the server: its control variate, which goes out with the weights.

Source: Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1. The sites' half is
`clients/local_objectives/scaffold.py`.
"""

import numpy as np
from torch import nn

from fl.training.frozen import trained_parameters
from fl.training.state_dict import Weights


def initial_control(network: nn.Module) -> Weights:
    """The control variate before the first round: zero for every parameter that is trained."""
    return {
        name: np.zeros(parameter.shape, dtype=np.float32)
        for name, parameter in trained_parameters(network).items()
    }


def merge_control(control: Weights, average: Weights, share: float) -> Weights:
    """The control variate after a round: c + share * (average of what sites sent - c).

    `share`: how many of all sites took part; the others count as unchanged (line 17). The
    average is that of the weights, and of a row or column that some sites alone train
    over those sites. With equal sites it is the paper's plain mean.
    """
    return {
        name: np.asarray(c + share * (average[name] - c), dtype=np.float32)
        for name, c in control.items()
    }
