"""What every network shares: how leads come in, how time is summed up, how RR ratios join."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl.models.precision import full_precision

EARLY_WEIGHT = (
    0.7  # in what the early features say of S against N; the rest in what everything says
)


class NetworkOptions(Protocol):
    """Options of a network; `build` makes the network with fresh weights from torch's generator."""

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> "Network":
        """Network for signals of about `samples` samples; it takes any number from 64 upwards."""


class Network(nn.Module):
    """Reads a signal, sums it up over time and gives one score per class.

    The last layer, `head`, is linear with one row per class: a federation can average each row
    over the records that annotate its class, so nothing may follow it. One thing does where there
    are `early` features: they have a word of their own on how the first two classes share what
    the head gives both (N and S, which every beat source annotates).
    """

    def __init__(
        self,
        *,
        stem: nn.Module,  # (batch, lead, sample), (batch, lead) -> (batch, channel, time)
        body: nn.Module,  # (batch, channel, time) -> (batch, width, time)
        width: int,
        features: int,
        classes: int,
        dropout: float,
        dense: tuple[int, ...] = (),
        silence: float = 0.0,
        early: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.stem, self.body = stem, body
        self.dense = nn.Sequential()
        pooled = 2 * width
        for size in dense:
            self.dense.extend([nn.Linear(pooled, size), nn.ReLU()])
            pooled = size
        self.dropout = nn.Dropout(dropout)
        self.silence = SignalDropout(silence if features else 0.0)
        self.rr = FeatureBranch(features, early=early if features else ())
        self.judges = EarlyFeatureMixture(0.5)
        self.head = nn.Linear(pooled + self.rr.width, classes)

    def forward(self, signal: Tensor, lead_mask: Tensor, features: Tensor) -> Tensor:
        """Logits (batch, class).

        `signal` (batch, lead, sample) z-scored; `lead_mask` (batch, lead) 1 where recorded;
        `features` (batch, feature) standardised, (batch, 0) where the task has none.
        """
        read = self.body(self.stem(signal, lead_mask))
        with full_precision(read):
            return self._judged(mean_and_max(read.float()), features)

    def _judged(self, pooled: Tensor, features: Tensor) -> Tensor:
        """(batch, 2 * width), (batch, feature) -> logits. Small, and a probability needs digits."""
        pooled = self.silence(self.dropout(self.dense(pooled)))
        logits: Tensor = self.head(torch.cat([pooled, self.rr(features)], dim=1))
        if not self.rr.early:
            return logits
        logits_of_both = torch.cat(
            [self.rr.earliness(features), logits[:, 1:2] - logits[:, :1]], dim=1
        )
        odds = self.judges(logits_of_both)
        either = logits[:, :2].logsumexp(dim=1, keepdim=True)
        two = torch.cat([either - F.softplus(odds), either - F.softplus(-odds)], dim=1)
        return torch.cat([two, logits[:, 2:]], dim=1)


class Conv(nn.Conv1d):
    """Convolution over time whose result lies in memory moment by moment, channels innermost.

    The weights and the shapes are those of `nn.Conv1d`, and the numbers up to rounding. oneDNN
    need not rearrange what comes in, and LSTM layers read the result as it lies.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, width, time / stride)."""
        if x.is_cuda:  # GroupNorm would put the channels back there
            return super().forward(x)
        # Torch keeps that order for images only, so the sequence is an image of height 1.
        image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        made = F.conv2d(
            image, self.weight.unsqueeze(2), None, (1, *self.stride), (0, *self.padding)
        )
        return made.squeeze(2)


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` that leaves the order in memory as it is."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> the same."""
        return super().forward(x.unsqueeze(2)).squeeze(2)


class LeadStem(nn.Module):
    """First convolution over the leads; a lead that was not recorded has no influence at all.

    An absent lead is set to zero whatever it holds, even NaN. GroupNorm brings one lead to the
    scale of twelve, and a learned shift per lead tells the network which leads it has.
    """

    def __init__(self, leads: int, width: int, *, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        # A bias here would be one more shift of the same channels.
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
    """What a small network makes of the features: timing, shape and P wave of a heartbeat.

    A premature beat is told by its timing. Joined to the signal at the signal's learning rate
    that was not learnt: parameters named `rr` are for a larger one. Giving the head the features
    themselves as well cost S F1 .08 in cross-validation, so it gets only what is made of them.

    `early` are the columns that have a word of their own on the second class against the first
    (S against N).
    """

    def __init__(
        self, features: int, hidden: int = 32, dropout: float = 0.2, early: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.width = hidden if features else 0
        self.early = early
        if features:
            self.mlp = _two_layers(features, hidden, dropout)
        if early:
            self.early_mlp = _two_layers(len(early), hidden, dropout)
            self.early_score = nn.Linear(hidden, 1)

    def earliness(self, features: Tensor) -> Tensor:
        """Logit of the second class against the first: (batch, feature) -> (batch, 1)."""
        # A list of columns would be sent to a GPU at each step, and the host would wait.
        early = torch.stack([features[:, column] for column in self.early], dim=1)
        score: Tensor = self.early_score(self.early_mlp(early))
        return score

    def forward(self, features: Tensor) -> Tensor:
        """(batch, feature) -> (batch, self.width); nothing where there are no features."""
        if not self.width:
            return features
        made: Tensor = self.mlp(features)
        return made


def _two_layers(features: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
    )


class SignalDropout(nn.Dropout):
    """In training, hides the signal of a share of the examples, so that the features must do.

    A network with both learns the training patients' shapes, which are the easier and do not
    travel; what the features say of a beat relative to its own patient does.
    """

    def forward(self, pooled: Tensor) -> Tensor:
        """(batch, width) -> the same with whole rows zero, the others as they are."""
        if not self.training or self.p == 0:
            return pooled
        return pooled * (torch.rand(len(pooled), 1, device=pooled.device) >= self.p)


class EarlyFeatureMixture(nn.Dropout):
    """Makes one logit of what the early features say and of what everything says.

    In training each example is judged by one of the two, so that neither relies on the other.
    Where S is the usual beat of a patient, whatever is like his usual beat would pass for N: most
    of the word is the early features'. On their own they were worse (docs/results.md).
    """

    def forward(self, logits_of_both: Tensor) -> Tensor:
        """Logits (batch, 2), the early features' first -> (batch, 1)."""
        early, everything = logits_of_both[:, :1], logits_of_both[:, 1:]
        if self.training and self.p > 0:
            return torch.where(torch.rand_like(early) < self.p, early, everything)
        mixed: Tensor = EARLY_WEIGHT * early.sigmoid() + (1 - EARLY_WEIGHT) * everything.sigmoid()
        return mixed.logit(1e-6)


class BiLSTM(nn.Module):
    """Reads a sequence forwards and backwards: (batch, channel, time) -> (batch, 2 hidden, time).

    Batch-first on purpose: measured with oneDNN on a CPU core it is as fast as time-first.
    """

    def __init__(self, channels: int, hidden: int, *, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            channels, hidden, num_layers=layers, batch_first=True, bidirectional=True
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, 2 * hidden, time)."""
        return run_lstm(self.lstm, sequence.transpose(1, 2)).transpose(1, 2)


def run_lstm(lstm: nn.LSTM, sequence: Tensor) -> Tensor:
    """What an LSTM makes of every moment: (batch, time, channel) -> (batch, time, width).

    In float32: under any autocast torch hands cuDNN float16, in which small gradients vanish.
    """
    with full_precision(sequence):
        read: Tensor = lstm(sequence.float())[0]
    return read


def conv_norm(channels: int, width: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the length (divides it by `stride`, rounded up), then GroupNorm."""
    return nn.Sequential(
        Conv(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False),
        group_norm(width),
    )


def group_norm(channels: int) -> GroupNorm:
    """Normalises each record by itself; one hospital's batch statistics are wrong for the next.

    Groups of 8 channels where that divides, else one group.
    """
    return GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)


def mean_and_max(sequence: Tensor) -> Tensor:
    """Mean and maximum over time: (batch, channel, time) -> (batch, 2 * channel)."""
    return torch.cat([sequence.mean(dim=2), sequence.amax(dim=2)], dim=1)


def parameters(module: nn.Module) -> int:
    """Number of trainable weights."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
