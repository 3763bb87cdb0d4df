"""CNN-LSTM: convolutions describe the beats, an LSTM reads their sequence."""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from fl.models.blocks import BiLSTM, LeadStem, Network, conv_norm


@dataclass(frozen=True, kw_only=True)
class CNNLSTM:
    """Recognises wave shapes first, then the order in which they come.

    Source: Oh et al. 2018, 10.1016/j.compbiomed.2018.06.002: three convolutions with
    max-pooling, then one LSTM of 20 units. We differ: GroupNorm, an LSTM in both directions and
    wider, mean and maximum over time instead of the last state and dense layers.
    """

    widths: tuple[int, ...] = (32, 48, 64)  # one convolution each, then max-pooling by 2
    kernel: int = 9
    hidden: int = 72  # per direction
    dropout: float = 0.1

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> Network:
        """Network with fresh weights; the length of the signal does not change its size."""
        first = self.widths[0]
        convs: list[nn.Module] = [nn.ReLU(), nn.MaxPool1d(2)]
        for before, after in pairwise(self.widths):
            convs += [conv_norm(before, after, kernel=self.kernel), nn.ReLU(), nn.MaxPool1d(2)]
        return Network(
            stem=LeadStem(leads, first, kernel=self.kernel, stride=1, padding=self.kernel // 2),
            body=nn.Sequential(*convs, BiLSTM(self.widths[-1], self.hidden, layers=1)),
            width=2 * self.hidden,
            features=features,
            classes=classes,
            dropout=self.dropout,
        )
