"""ResLSTM-TemporalSE: residual LSTM layers that learn which moments and channels matter."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fl.models.blocks import LeadStem, Network, conv_norm, run_recurrent
from fl.models.resnet1d import ResidualBlock
from fl.util.errors import ConfigError

Stem = Literal["residual", "conv", "linear"]
STEMS: tuple[str, ...] = get_args(Stem)


@dataclass(frozen=True, kw_only=True)
class ResLSTMTemporalSE:
    """Reads the recording forwards and backwards in time and weighs moments and channels.

    A reconstruction: of ResLSTM-TemporalSE only the abstract is public (residual LSTM layers,
    squeeze-and-excitation with temporal attention). Ours is `h <- h + TSE(BiLSTM(LayerNorm(h)))`
    over a strided stem, mean and maximum over time, one linear layer. Squeeze-and-excitation:
    Hu et al. 2018, arXiv:1709.01507; attention over time: Lin et al. 2017, arXiv:1703.03130.
    The abstract names no convolution: `stem="linear"` embeds patches instead, `stem="conv"` has
    plain convolutions. Residual ones and fewer, longer time steps did better in validation
    (docs/results.md): LSTM layers work better on wave shapes that convolutions have found.
    """

    stem: Stem = "residual"
    stride: int = 16  # samples per time step, a power of 2
    width: int = 64  # channels, an even number
    depth: int = 2
    residual: bool = True
    bidirectional: bool = True
    se: bool = True
    temporal_attention: bool = True  # off: squeeze by the mean, plain squeeze-and-excitation
    time_gate: bool = True
    reduction: int = 8  # of the squeeze-and-excitation bottleneck
    dropout: float = 0.1
    block_dropout: float = 0.0  # of what each block adds

    def __post_init__(self) -> None:
        """Raises ConfigError for an option that has no meaning."""
        if self.stem not in STEMS:
            raise ConfigError(f"model.stem is {self.stem!r}. Known stems: {', '.join(STEMS)}.")
        if self.stride < 4 or self.stride & (self.stride - 1):
            raise ConfigError(f"model.stride is {self.stride}. Give a power of 2, 4 or more.")
        if self.width % 2:
            raise ConfigError(
                f"model.width is {self.width}; two directions share it. Give an even number."
            )

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> Network:
        """Network with fresh weights; the length of the signal does not change its size."""
        return Network(
            stem=self._stem(leads),
            body=nn.Sequential(
                ChannelsLast(), *(self._block() for _ in range(self.depth)), ChannelsLast()
            ),
            width=self.width,
            features=features,
            classes=classes,
            dropout=self.dropout,
        )

    def _stem(self, leads: int) -> nn.Module:
        if self.stem == "linear":
            return patches(leads, self.width, self.stride)
        steps = self.stride.bit_length() - 2  # strides of 2 after the first
        return ConvStem(leads, self.width, steps, residual=self.stem == "residual")

    def _block(self) -> "ResLSTMBlock":
        tse = TemporalSE(
            self.width,
            se=self.se,
            temporal_attention=self.temporal_attention,
            time_gate=self.time_gate,
            reduction=self.reduction,
        )
        return ResLSTMBlock(
            self.width,
            tse,
            residual=self.residual,
            bidirectional=self.bidirectional,
            dropout=self.block_dropout,
        )


class ConvStem(nn.Module):
    """Convolutions of stride 2, plain or in residual blocks of two: 2 samples a step, 4, 8, ..."""

    def __init__(self, leads: int, width: int, steps: int, *, residual: bool) -> None:
        super().__init__()
        first = width // 2
        self.leads = LeadStem(leads, first, kernel=7, stride=2, padding=3)
        widths = [first] * (steps if residual else 1) + [width] * (1 if residual else steps)
        self.convs = nn.Sequential(nn.ReLU())
        for before, after in pairwise(widths):
            self.convs.extend(
                [ResidualBlock(before, after, 7)]
                if residual
                else [conv_norm(before, after, kernel=7, stride=2), nn.ReLU()]
            )

    def forward(self, signal: Tensor, lead_mask: Tensor) -> Tensor:
        """(batch, lead, sample), (batch, lead) -> (batch, width, time)."""
        embedded: Tensor = self.convs(self.leads(signal, lead_mask))
        return embedded


def patches(leads: int, width: int, patch: int) -> LeadStem:
    """Linear embedding of `patch` samples of all leads at a time, without overlap."""
    return LeadStem(leads, width, kernel=patch, stride=patch, padding=0)


class ResLSTMBlock(nn.Module):
    """One LSTM layer whose output is weighed by TemporalSE and added to its input."""

    def __init__(
        self,
        width: int,
        tse: "TemporalSE",
        *,
        residual: bool,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(
            width,
            width // 2 if bidirectional else width,
            batch_first=True,
            bidirectional=bidirectional,
        )
        self.tse = tse
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """(batch, time, width) -> (batch, time, width)."""
        update: Tensor = self.dropout(self.tse(run_recurrent(self.lstm, self.norm(h))))
        return h + update if self.residual else update


class TemporalSE(nn.Module):
    """Gives more weight to the channels and moments that matter, seen over the whole recording.

    Squeeze: `z = sum_t a_t h_t` with `a = softmax_t(w . tanh(W h_t))`, or the mean over time.
    Excite: `s = sigmoid(U relu(V z))`. Gate: `g_t = sigmoid(v . h_t)`. Result: `h_t * s * g_t`.
    """

    def __init__(
        self, width: int, *, se: bool, temporal_attention: bool, time_gate: bool, reduction: int
    ) -> None:
        super().__init__()
        self.score = (
            nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
            if se and temporal_attention
            else None
        )
        self.excite = (
            nn.Sequential(
                nn.Linear(width, max(width // reduction, 1)),
                nn.ReLU(),
                nn.Linear(max(width // reduction, 1), width),
                nn.Sigmoid(),
            )
            if se
            else None
        )
        self.gate = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid()) if time_gate else None

    def attention(self, h: Tensor) -> Tensor:
        """Weight of each moment, summing to 1: (batch, time, width) -> (batch, time)."""
        if self.score is None:
            return h.new_full(h.shape[:2], 1 / h.shape[1])
        scores: Tensor = self.score(h).squeeze(-1)
        return scores.softmax(dim=1)

    def forward(self, h: Tensor) -> Tensor:
        """(batch, time, width) -> (batch, time, width)."""
        weighted = h
        if self.excite is not None:
            squeezed = torch.einsum("bt,btw->bw", self.attention(h), h)
            weighted = weighted * self.excite(squeezed).unsqueeze(1)
        if self.gate is not None:
            weighted = weighted * self.gate(h)
        return weighted


class ChannelsLast(nn.Module):
    """Swaps channel and time: convolutions need time last, LSTM and LayerNorm channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, a, b) -> (batch, b, a)."""
        return x.transpose(1, 2)
