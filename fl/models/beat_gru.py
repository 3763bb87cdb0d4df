"""Heartbeats in a row: a recurrent network over the features of neighbouring beats."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fl.models.early_decision import EarlyDecision
from fl.models.network_input import NetworkInput
from fl.models.precision import full_precision


@dataclass(frozen=True, kw_only=True)
class BeatGRU:
    """Reads the features of 64 beats in order of time and answers each of them.

    What a beat is depends on its neighbours: one early beat among regular ones, a run, every second
    beat. Source of the unit: Cho et al. 2014, arXiv:1406.1078. With `both_directions` it reads the
    row from both ends; without, nothing later than the beat, as a monitor must.
    """

    row: int = 64  # beats
    width: int = 48  # of the layer that reads each beat's features
    hidden: int = 24  # per direction
    dropout: float = 0.2
    both_directions: bool = True
    early_features: tuple[int, ...] = ()  # columns of the features: see `EarlyDecision`
    irregular: int | None = None  # column of the feature by which fibrillation is seen
    needs_features: ClassVar = True

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> nn.Module:
        """Network with fresh weights."""
        return RowNetwork(features, classes, self)


class RowNetwork(nn.Module):
    """A dense layer for each beat, a GRU over the row, and a head that sees both."""

    classifier: ClassVar = ("head", "early")  # see `network_parts`

    def __init__(self, features: int, classes: int, options: BeatGRU) -> None:
        super().__init__()
        self.input = NetworkInput(signal=False, row=options.row, later=options.both_directions)
        self.beat = nn.Sequential(
            nn.Linear(features, options.width), nn.ReLU(), nn.Dropout(options.dropout)
        )
        self.gru = nn.GRU(
            options.width,
            options.hidden,
            batch_first=True,
            bidirectional=options.both_directions,
        )
        directions = 2 if options.both_directions else 1
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(directions * options.hidden + options.width, classes)
        self.early = EarlyDecision(options.early_features, options.irregular)

    def forward(self, signal: Tensor, lead_mask: Tensor, features: Tensor) -> Tensor:
        """Logits (batch, class) from features (batch, feature), whole rows one after the other."""
        beats = self.beat(features)
        with full_precision(beats):
            rows = beats.float().unflatten(0, (-1, self.input.row))
            return self._answer(self.gru(rows)[0], rows, features)

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the next beat of each of several rows, and what is remembered of the rows.

        Features (row, feature) and state (1, row, hidden), zeros before the first beat, give
        logits (row, class) and state. They are those of `forward`, beat by beat. For a network
        without `both_directions`.
        """
        rows = self.beat(features)[:, None]
        read, state = self.gru(rows, state)
        return self._answer(read, rows, features), state

    def _answer(self, read: Tensor, rows: Tensor, features: Tensor) -> Tensor:
        """Logits (batch, class) of beats whose rows the GRU has read: (row, beat, hidden)."""
        both = torch.cat([read, rows], dim=2).flatten(0, 1)
        logits: Tensor = self.early(self.head(self.dropout(both)), features)
        return logits
