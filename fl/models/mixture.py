"""Several networks that answer as one: the weighted mean of their logits."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.ecg.tasks import Task
from fl.models import build_network
from fl.models.network_input import NetworkInput, network_input
from fl.models.network_parts import NetworkParts, embedding_layer, network_parts

MIXED = 3  # networks in a site's own mixture: the federation's, one trained on, one of its own


class MixtureOfNetworks(nn.Module):
    """Answers with the weighted mean of the logits of networks that read the same input.

    Sources: FENDA (arXiv:2309.16825) and APFL (arXiv:2003.13461) mix a model of the site's own with
    the federation's; here each network is trained by itself, and only the mean is fitted. Where it
    is asked for one network's parts (its embedding, how it is explained), it answers for the first.
    """

    shares: Tensor  # (network,) of the mean; they sum to one

    def __init__(
        self, networks: Sequence[nn.Module], shares: Sequence[float] | NDArray[np.float64] = ()
    ) -> None:
        """`shares` of the mean, not negative and with the sum one; without any all are equal."""
        super().__init__()
        given = np.asarray(shares if len(shares) else np.full(len(networks), 1 / len(networks)))
        if given.shape != (len(networks),) or (given < 0).any() or abs(given.sum() - 1) > 1e-6:
            raise ValueError(
                f"shares are {given.tolist()}: one for each of {len(networks)} networks, not "
                "negative, with the sum one"
            )
        self.networks = nn.ModuleList(networks)
        self.register_buffer("shares", torch.from_numpy(given.astype(np.float32)))

    @property
    def input(self) -> NetworkInput:
        """What each of the networks reads."""
        return network_input(self.networks[0])

    @property
    def parts(self) -> NetworkParts:
        """The parts of every network, as entries of the mixture."""
        each = [(f"networks.{n}.", network_parts(net)) for n, net in enumerate(self.networks)]
        return NetworkParts(
            head=tuple(prefix + name for prefix, parts in each for name in parts.head),
            lead_columns=tuple(p + name for p, parts in each for name in parts.lead_columns),
            rate_factors={p + k: v for p, parts in each for k, v in parts.rate_factors.items()},
            classifier=tuple(p + name for p, parts in each for name in parts.classifier),
        )

    @property
    def embedding_layer(self) -> str:
        """The name of the module that reads the first network's summary of an example."""
        found = embedding_layer(self.networks[0])
        names = [str(name) for name, module in self.named_modules() if module is found]
        return names[0]

    @property
    def explained_by(self) -> str:
        """The usual method of explaining the first network."""
        return str(getattr(self.networks[0], "explained_by", "gradients"))

    def forward(self, signal: Tensor, lead_mask: Tensor, features: Tensor) -> Tensor:
        """Logits (batch, class) of what every network of the task reads."""
        logits = [network(signal, lead_mask, features).float() for network in self.networks]
        mean: Tensor = torch.tensordot(self.shares, torch.stack(logits), dims=1)
        return mean


def own_network(model: str, task: Task, n_mixed: int = 0) -> nn.Module:
    """A network of `MODELS`, or a mixture of `n_mixed` of them; 0: no mixture.

    The weights are drawn from torch's global random state.
    """
    if not n_mixed:
        return build_network(model, task)
    return MixtureOfNetworks([build_network(model, task) for _ in range(n_mixed)])
