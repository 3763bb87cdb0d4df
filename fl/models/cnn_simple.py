"""The convolutional network of a textbook: two convolutions, pooling and a dense layer."""

from dataclasses import dataclass

from torch import nn

from fl.models.blocks import LeadStem, Network, conv_norm


@dataclass(frozen=True, kw_only=True)
class CNNSimple:
    """Finds small wave shapes, then shapes made of them, and keeps the best match of each.

    Source: LeCun et al. 1998, 10.1109/5.726791: convolution and pooling twice, then dense layers.
    We differ: one dimension, GroupNorm, ReLU and maxima in the pooling; and after the second
    convolution the mean and maximum over all of time, so that any length fits. A unit before that
    sees 66 samples (0.66 s at 100 Hz), about one beat: the network knows which shapes a recording
    has, not in which order they come.
    """

    widths: tuple[int, int] = (64, 128)
    kernels: tuple[int, int] = (7, 15)  # samples; the second counts steps after the pooling
    pool: int = 4
    dense: int = 64
    dropout: float = 0.1

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> Network:
        """Network with fresh weights; the length of the signal does not change its size."""
        first, second = self.widths
        kernel = self.kernels[0]
        return Network(
            stem=LeadStem(leads, first, kernel=kernel, stride=1, padding=kernel // 2),
            body=nn.Sequential(
                nn.ReLU(),
                nn.MaxPool1d(self.pool),
                conv_norm(first, second, kernel=self.kernels[1]),
                nn.ReLU(),
            ),
            width=second,
            features=features,
            classes=classes,
            dropout=self.dropout,
            dense=(self.dense,),
        )
