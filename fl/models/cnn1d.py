"""Residual 1D-CNN: finds short wave shapes, then larger shapes made of them."""

from dataclasses import dataclass

from torch import Tensor, nn

from fl.models.blocks import LeadStem, Network, conv_norm
from fl.models.early_decision import EarlyDecision


@dataclass(frozen=True, kw_only=True)
class CNN1D:
    """Slides small templates along the recording, layer upon layer, and keeps the best matches.

    Source: Kachuee et al. 2018, arXiv:1805.00794: a convolution, five blocks of two
    convolutions (32 filters of 5 samples) with a skip and max-pooling (5, stride 2), two dense
    layers of 32. We differ: GroupNorm after each convolution; padding, so that short signals
    survive five poolings; mean and maximum over time before the dense layers, so that any length
    fits; wider, because 12 leads hold more than one; and a first stride of 2 on signals longer
    than `long_from`, so that ten seconds have about as many time steps as a beat in the paper.
    """

    width: int = 56  # 32 in the paper
    depth: int = 5
    kernel: int = 5
    dense: int = 32
    long_from: int = 512  # samples; the paper has 187
    dropout: float = 0.1
    signal_dropout: float = 0.0  # share of training examples that show only their features
    early_features: tuple[int, ...] = ()  # columns of features: see `EarlyDecision`
    irregular: int | None = None  # column of the feature by which fibrillation is seen

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> Network:
        """Network with fresh weights."""
        early = self.early_features if features else ()
        stride = 2 if samples >= self.long_from else 1
        return Network(
            stem=LeadStem(
                leads, self.width, kernel=self.kernel, stride=stride, padding=self.kernel // 2
            ),
            body=nn.Sequential(*(ConvBlock(self.width, self.kernel) for _ in range(self.depth))),
            width=self.width,
            features=features,
            classes=classes,
            dropout=self.dropout,
            dense=(self.dense, self.dense),
            signal_dropout=self.signal_dropout,
            after_head=EarlyDecision(early, self.irregular) if early else None,
        )


class ConvBlock(nn.Module):
    """Two convolutions with a skip around them, then max-pooling to half the time steps."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_norm(width, width, kernel=kernel),
            nn.ReLU(),
            conv_norm(width, width, kernel=kernel),
        )
        self.pool = nn.MaxPool1d(5, stride=2, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, time) -> (batch, width, time / 2 rounded up)."""
        pooled: Tensor = self.pool((x + self.convs(x)).relu())
        return pooled
