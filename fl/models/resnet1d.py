"""1-D ResNet: the image network's residual stages along the time axis of a recording."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from fl.models.blocks import LeadStem, Network, conv_norm


@dataclass(frozen=True, kw_only=True)
class ResNet1D:
    """Describes longer and longer stretches of the recording by more and more features.

    Sources: He et al. 2016, arXiv:1512.03385; on ECGs Ribeiro et al. 2020,
    10.1038/s41467-020-15432-4. We differ: about a fortieth of Ribeiro's weights, GroupNorm
    instead of BatchNorm, strided convolutions instead of pooling, mean and maximum over time.
    """

    widths: tuple[int, ...] = (32, 40, 56, 64)  # one residual block each, stride 2
    kernel: int = 7
    stem_kernel: int = 15
    dropout: float = 0.1

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> Network:
        """Network with fresh weights; the length of the signal does not change its size."""
        first = self.widths[0]
        steps = pairwise((first, *self.widths))
        return Network(
            stem=LeadStem(
                leads, first, kernel=self.stem_kernel, stride=2, padding=self.stem_kernel // 2
            ),
            body=nn.Sequential(
                nn.ReLU(), *(ResidualBlock(before, after, self.kernel) for before, after in steps)
            ),
            width=self.widths[-1],
            features=features,
            classes=classes,
            dropout=self.dropout,
        )


class ResidualBlock(nn.Module):
    """Two convolutions and a skip; the output has half as many time steps as the input."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_norm(channels, width, kernel=kernel, stride=2),
            nn.ReLU(),
            conv_norm(width, width, kernel=kernel),
        )
        self.skip = conv_norm(channels, width, kernel=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, time) -> (batch, width, time / 2 rounded up)."""
        out: Tensor = (self.skip(x) + self.convs(x)).relu()
        return out
