"""The default model and its training step written plainly, as a baseline for `fl`.

An independent implementation with torch's own layers and default settings: a data set that returns
one record at a time, torch's DataLoader, `nn.Conv1d`, `nn.GroupNorm`, `nn.LSTM`, `nn.LayerNorm`
and `torch.optim.AdamW`. Nothing of `fl.models` or `fl.training` is used. The entries of the state
dict have the same names, so that weights can be copied from one to the other.
"""

import math
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from fl.data.cohort import Cohort
from fl.data.shards import Shard

LEADS, CLASSES, SAMPLES, FS = 12, 9, 1000, 100.0
WIDTH = 64
Item = tuple[Tensor, Tensor, Tensor]  # signal, lead mask, labels


def conv_norm(channels: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    """Convolution, group normalisation in groups of 8 channels."""
    return nn.Sequential(
        nn.Conv1d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(width // 8, width),
    )


class PlainLeads(nn.Module):
    """The first convolution, and a learned shift for each lead that was recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(LEADS, WIDTH // 2, 7, stride=2, padding=3, bias=False)
        self.norm = nn.GroupNorm(WIDTH // 16, WIDTH // 2)
        self.lead_shift = nn.Linear(LEADS, WIDTH // 2)

    def forward(self, signal: Tensor, mask: Tensor) -> Tensor:
        """(batch, lead, sample), (batch, lead) -> (batch, channel, time)."""
        recorded = torch.where(mask[:, :, None] > 0, signal, torch.zeros_like(signal))
        return self.norm(self.conv(recorded)) + self.lead_shift(mask)[:, :, None]


class PlainResidual(nn.Module):
    """Two convolutions, and one convolution on the skip connection."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_norm(channels, width, 7, 2), nn.ReLU(), conv_norm(width, width, 7, 1)
        )
        self.skip = conv_norm(channels, width, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, width, time / 2)."""
        return torch.relu(self.skip(x) + self.convs(x))


class PlainStem(nn.Module):
    """Leads, then three residual blocks: one time step for 16 samples."""

    def __init__(self) -> None:
        super().__init__()
        half = WIDTH // 2
        self.leads = PlainLeads()
        self.convs = nn.Sequential(
            nn.ReLU(),
            PlainResidual(half, half),
            PlainResidual(half, half),
            PlainResidual(half, WIDTH),
        )

    def forward(self, signal: Tensor, mask: Tensor) -> Tensor:
        """(batch, lead, sample), (batch, lead) -> (batch, channel, time)."""
        return self.convs(self.leads(signal, mask))


class PlainTemporalSE(nn.Module):
    """Squeeze-and-excitation with attention over time, and a gate for each time step."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1, bias=False)
        )
        self.excite = nn.Sequential(
            nn.Linear(WIDTH, WIDTH // 8), nn.ReLU(), nn.Linear(WIDTH // 8, WIDTH), nn.Sigmoid()
        )
        self.gate = nn.Sequential(nn.Linear(WIDTH, 1), nn.Sigmoid())

    def forward(self, h: Tensor) -> Tensor:
        """(batch, time, channel) -> the same."""
        attention = torch.softmax(self.score(h), dim=1)
        squeezed = (attention * h).sum(dim=1)
        return h * self.excite(squeezed)[:, None, :] * self.gate(h)


class PlainBlock(nn.Module):
    """A bidirectional LSTM weighted by TemporalSE, added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.tse = PlainTemporalSE()

    def forward(self, h: Tensor) -> Tensor:
        """(batch, time, channel) -> the same."""
        output, _ = self.lstm(self.norm(h))
        return h + self.tse(output)


class PlainResLSTM(nn.Module):
    """ResLSTM-TemporalSE with the defaults of `fl.models.reslstm_temporalse`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = PlainStem()
        self.body = nn.Sequential(OrderedDict({"1": PlainBlock(), "2": PlainBlock()}))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, signal: Tensor, mask: Tensor) -> Tensor:
        """(batch, lead, sample), (batch, lead) -> logits (batch, class)."""
        h = self.body(self.stem(signal, mask).transpose(1, 2))
        pooled = torch.cat([h.mean(dim=1), h.max(dim=1).values], dim=1)
        return self.head(self.dropout(pooled))


class PlainRecords(Dataset[Item]):
    """Recordings of a cache folder, one at a time: a random crop of ten seconds."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard

    def __len__(self) -> int:
        return len(self.shard.names)

    def __getitem__(self, index: int) -> Item:
        shard = self.shard
        length, offset = int(shard.lengths[index]), int(shard.offsets[index])
        start = int(torch.randint(max(length - SAMPLES, 0) + 1, ()))
        mask = torch.from_numpy(shard.lead_mask[index].astype(np.float32))
        signal = torch.zeros(LEADS, SAMPLES)
        for place, lead in enumerate(np.flatnonzero(shard.lead_mask[index])):
            begin = offset + place * length + start
            crop = np.resize(shard.signals[begin : begin + min(length, SAMPLES)], SAMPLES)
            signal[lead] = torch.from_numpy(crop.astype(np.float32))
        return signal, mask, torch.from_numpy(shard.labels[index].astype(np.float32))


def augment(signal: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Lead dropout, gain, white noise and baseline wander of a batch."""
    n = len(signal)
    keep = torch.where(
        torch.rand(n) < 0.5, torch.randint(1, LEADS + 1, (n,)), torch.full((n,), LEADS)
    )
    rank = torch.argsort(torch.argsort(torch.rand(n, LEADS) - mask, dim=1), dim=1)
    mask = mask * (rank < keep[:, None])
    signal = signal * mask[:, :, None]
    signal = signal * torch.exp(0.15 * torch.randn(n, LEADS, 1))
    signal = signal + 0.1 * torch.rand(n, 1, 1) * torch.randn_like(signal) * mask[:, :, None]
    cycles = (0.1 + 0.5 * torch.rand(n, 1, 1)) * torch.arange(SAMPLES) / FS
    wander = torch.sin(2 * math.pi * (cycles + torch.rand(n, LEADS, 1)))
    return signal + 0.3 * torch.rand(n, LEADS, 1) * wander * mask[:, :, None], mask


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, summed over the annotated classes and divided by all classes."""
    known = (labels >= 0).float()
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none")
    return (each * known).sum() / labels.numel()


def records_of(cohort: Cohort) -> Dataset[Item]:
    """A site's recordings, one at a time."""
    parts = [
        Subset(PlainRecords(shard), cohort.row[cohort.shard == number].tolist())
        for number, shard in enumerate(cohort.shards)
    ]
    return ConcatDataset([part for part in parts if len(part)])


@torch.no_grad()
def validate(network: PlainResLSTM, data: Dataset[Item], batch_size: int) -> float:
    """Mean loss per record."""
    network.eval()
    total, n = 0.0, 0
    for signal, mask, labels in DataLoader(data, batch_size=batch_size):
        total += loss_of(network(signal, mask), labels).item() * len(labels)
        n += len(labels)
    return total / n


def train(network: PlainResLSTM, data: Dataset[Item], batch_size: int, lr: float) -> float:
    """Train one epoch; returns the sum of the losses over records."""
    network.train()
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(loader))
    total = 0.0
    for signal, mask, labels in loader:
        signal, mask = augment(signal, mask)
        loss = loss_of(network(signal, mask), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item() * len(labels)
    return total
