"""What every network shares: lead input, pooling over time, the feature branch and the head."""

from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl.models.network_parts import NetworkParts, parts_of_modules
from fl.models.precision import full_precision


class NetworkOptions(Protocol):
    """Options of a network; `build` makes the network with fresh weights from torch's generator.

    An attribute `needs_features` that is true says that the network reads features and is of no
    use for a task without them; `needs_pictures`, that it draws whole heartbeats and is of use for
    no other examples; `centralised_only`, that no federation can train it.
    """

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> nn.Module:
        """Network for signals of about `samples` samples; it takes any number from 64 upwards.

        It is called with a signal (batch, lead, sample), a lead mask (batch, lead) and features
        (batch, feature), and returns logits (batch, class). Which of its weights belong to a
        class or a lead, it may declare: see `network_parts`.
        """


class Network(nn.Module):
    """Reads a signal, pools it over time and gives one score per class.

    The last layer, `head`, is linear with one row per class: a federation can average each row
    over the records that annotate its class, so no layer may follow it. Only `after_head` may
    change how classes that every source annotates divide what the head gives them (EarlyDecision).
    """

    classifier: ClassVar = ("dense", "feature_branch", "head", "after_head")  # see `network_parts`
    embedding_layer: ClassVar = "dense"  # its input is the mean and maximum over time

    def __init__(
        self,
        *,
        stem: nn.Module,  # (batch, lead, sample), (batch, lead) -> (batch, channel, time)
        body: nn.Module,  # (batch, channel, time) -> (batch, width, time)
        width: int,
        features: int,
        classes: int,
        dropout: float,
        dense: tuple[int, ...] = (),  # sizes of the layers between pooling and head
        signal_dropout: float = 0.0,  # share of training examples that show only their features
        after_head: nn.Module | None = None,  # (batch, class), (batch, feature) -> (batch, class)
    ) -> None:
        super().__init__()
        self.stem, self.body = stem, body
        self.dense = nn.Sequential()
        pooled = 2 * width
        for size in dense:
            self.dense.extend([nn.Linear(pooled, size), nn.ReLU()])
            pooled = size
        self.dropout = nn.Dropout(dropout)
        self.signal_dropout = SignalDropout(signal_dropout if features else 0.0)
        self.feature_branch = FeatureBranch(features)
        self.after_head = after_head
        self.head = nn.Linear(pooled + self.feature_branch.width, classes)

    @cached_property  # asked at every visit to a site
    def parts(self) -> NetworkParts:
        """Which of the network's weights belong to a class, to a lead, or learn faster."""
        return parts_of_modules(self)

    def forward(self, signal: Tensor, lead_mask: Tensor, features: Tensor) -> Tensor:
        """Logits (batch, class).

        `signal` (batch, lead, sample) z-scored; `lead_mask` (batch, lead) 1 where recorded;
        `features` (batch, feature) standardised, (batch, 0) where the task has none.
        """
        pooled = self.signal_dropout(self._read_signal, signal, lead_mask)
        with full_precision(pooled):
            return self._logits(pooled, features)

    def _read_signal(self, signal: Tensor, lead_mask: Tensor) -> Tensor:
        """(batch, lead, sample), (batch, lead) -> (batch, width of the dense layers)."""
        sequence = self.body(self.stem(signal, lead_mask))
        with full_precision(sequence):
            dense: Tensor = self.dropout(self.dense(mean_and_max(sequence.float())))
            return dense

    def _logits(self, pooled: Tensor, features: Tensor) -> Tensor:
        """What was read of the signal and the features -> logits, in full precision."""
        logits: Tensor = self.head(torch.cat([pooled, self.feature_branch(features)], dim=1))
        if self.after_head is not None:
            logits = self.after_head(logits, features)
        return logits


class Conv(nn.Conv1d):
    """Convolution over time whose result has the channels of each moment side by side in memory.

    Weights and shapes are those of `nn.Conv1d`, and the numbers are equal up to rounding. In this
    order oneDNN need not rearrange its input, and an LSTM can read the result without a copy.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, width, time / stride)."""
        if x.is_cuda:  # GroupNorm on a GPU would undo the order
            return super().forward(x)
        # Torch supports this order for images only, so the sequence becomes an image of height 1.
        image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        convolved = F.conv2d(
            image, self.weight.unsqueeze(2), None, (1, *self.stride), (0, *self.padding)
        )
        return convolved.squeeze(2)


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` that does not change the order in memory."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> the same."""
        return super().forward(x.unsqueeze(2)).squeeze(2)


class LeadStem(nn.Module):
    """First convolution over the leads; a lead that was not recorded has no influence at all.

    A missing lead is set to zero whatever its values are, even NaN. GroupNorm brings one lead to
    the scale of twelve, and a learned shift per lead shows the network which leads were recorded.
    """

    lead_columns: ClassVar = ("conv.weight", "lead_shift.weight")

    def __init__(self, leads: int, width: int, *, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        # No bias: it would shift the same channels as `lead_shift` does.
        self.conv = Conv(leads, width, kernel, stride=stride, padding=padding, bias=False)
        self.norm = group_norm(width)
        self.lead_shift = nn.Linear(leads, width)

    def forward(self, signal: Tensor, lead_mask: Tensor) -> Tensor:
        """(batch, lead, sample), (batch, lead) -> (batch, width, time)."""
        present = lead_mask.unsqueeze(-1) > 0
        convolved = self.norm(self.conv(torch.where(present, signal, 0.0)))
        shifted: Tensor = convolved + self.lead_shift(lead_mask).unsqueeze(-1)
        return shifted


class FeatureBranch(nn.Module):
    """A small network that reads the features: timing, shape and P wave of a heartbeat.

    A premature beat is recognised by its timing, which the network did not learn at the learning
    rate of the signal; this branch therefore trains at twice that rate. The head receives only
    the branch's output: receiving the features themselves as well lowered the F1 of S by .08 in
    cross-validation.
    """

    rate_factor: ClassVar = 2.0

    def __init__(self, features: int, hidden: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        self.width = hidden if features else 0
        if features:
            self.mlp = dense_layers(features, hidden, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, feature) -> (batch, self.width); (batch, 0) where there are no features."""
        if not self.width:
            return features
        hidden: Tensor = self.mlp(features)
        return hidden


def dense_layers(features: int, hidden: int, dropout: float) -> nn.Sequential:
    """Two dense layers with dropout: (batch, feature) -> (batch, hidden)."""
    return nn.Sequential(
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
    )


class SignalDropout(nn.Module):
    """In training, hides the signal of a share of the examples: they show only their features.

    Otherwise the network mostly learns the wave shapes of the training patients, which is easier
    but does not carry over to other patients. The features, which describe a beat relative to its
    own patient, do carry over. A hidden signal is not read at all, which saves its time.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(
        self, read: Callable[[Tensor, Tensor], Tensor], signal: Tensor, lead_mask: Tensor
    ) -> Tensor:
        """`read(signal, lead_mask)`, (batch, width), with the rows of hidden signals zero."""
        if not self.training or self.p == 0:
            return read(signal, lead_mask)
        shown = torch.rand(len(signal), device=signal.device) >= self.p
        # On a GPU the host would wait to learn how many are shown, so all are read there.
        if signal.is_cuda or not shown.any():
            return read(signal, lead_mask) * shown[:, None]
        rows = shown.nonzero()[:, 0]
        seen = read(signal[rows], lead_mask[rows])
        return seen.new_zeros(len(signal), seen.shape[1]).index_copy(0, rows, seen)


class BiLSTM(nn.Module):
    """Reads a sequence forwards and backwards: (batch, channel, time) -> (batch, 2 hidden, time).

    Batch comes first: measured with oneDNN on a CPU core, that is as fast as time first.
    """

    def __init__(self, channels: int, hidden: int, *, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            channels, hidden, num_layers=layers, batch_first=True, bidirectional=True
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, 2 * hidden, time)."""
        return run_recurrent(self.lstm, sequence.transpose(1, 2)).transpose(1, 2)


def run_recurrent(layer: nn.LSTM | nn.GRU | nn.RNN, sequence: Tensor) -> Tensor:
    """A recurrent layer's output at every moment: (batch, time, channel) -> (batch, time, width).

    In float32: under autocast, torch passes float16 to cuDNN, in which small gradients vanish.
    """
    with full_precision(sequence):
        output: Tensor = layer(sequence.float())[0]
    return output


def conv_norm(channels: int, width: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the length (divides it by `stride`, rounded up), then GroupNorm."""
    return nn.Sequential(
        Conv(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False),
        group_norm(width),
    )


def group_norm(channels: int) -> GroupNorm:
    """Normalises each record on its own: batch statistics of one hospital do not fit another.

    Groups of 8 channels where that divides, else one group.
    """
    return GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)


def mean_and_max(sequence: Tensor) -> Tensor:
    """Mean and maximum over time: (batch, channel, time) -> (batch, 2 * channel)."""
    return torch.cat([sequence.mean(dim=2), sequence.amax(dim=2)], dim=1)


def parameters(module: nn.Module) -> int:
    """Number of trainable weights."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
