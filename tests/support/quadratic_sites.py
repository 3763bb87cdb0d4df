"""Two sites with a loss so simple that every step can be written by hand."""

import numpy as np
import torch

# Each site's loss is 1/2 sum a (w - b)^2: two parameters, gradients known.
A = np.array([[1.0, 0.5], [0.2, 2.0]])
B = np.array([[1.0, -1.0], [-2.0, 0.5]])
LR, STEPS, ROUNDS = 0.1, 3, 4


class TwoParameters(torch.nn.Module):
    """A network of two parameters, `w`; of more where more are given."""

    def __init__(self, start):
        super().__init__()
        values = start["w"] if isinstance(start, dict) else start
        self.w = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def gradient(site, w):
    """The gradient of a site's loss."""
    return A[site] * (w - B[site])


def descend(site, start, penalty, a=A, b=B, lr=LR, steps=STEPS):
    """Plain gradient steps of the site's loss and its strategy's term."""
    network = TwoParameters(start)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    for _ in range(steps):
        loss = 0.5 * (torch.tensor(a[site]) * (network.w - torch.tensor(b[site])).pow(2)).sum()
        objective = loss + penalty(network) if penalty else loss
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
    return network.w.detach().numpy()
