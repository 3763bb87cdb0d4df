"""The server's half of SCAFFOLD: its control variate after a round."""

import numpy as np

from fl.training.state_dict import Weights


def merge_control(control: Weights, average: Weights, share: float) -> Weights:
    """SCAFFOLD's control variate after a round: c + share * (average of what sites sent - c).

    `share`: how many of all sites took part; the others count as unchanged. Source: Karimireddy
    et al. 2020, arXiv:1910.06378, algorithm 1, line 17. We weigh sites by records, as weights
    are; with equal sites it is the paper's plain mean.
    """
    return {
        name: np.asarray(c + share * (average[name] - c), dtype=np.float32)
        for name, c in control.items()
    }
