"""Plain recurrent networks: read the recording from both ends, without convolutions."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from fl.models.blocks import BiLSTM, LeadStem, Network, run_recurrent

# The recurrent layer by the name of its cell. An LSTM has its own module, as in other networks.
PLAIN_CELLS: dict[str, type[nn.RNN] | type[nn.GRU]] = {"rnn": nn.RNN, "gru": nn.GRU}


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """Reads the recording 80 ms at a time, from both ends, and remembers what came before.

    `rnn` keeps one state that every step rewrites (Elman 1990, 10.1207/s15516709cog1402_1), `gru`
    has gates that decide what is rewritten (Cho et al. 2014, arXiv:1406.1078), `lstm` has gates
    and a memory beside the state (Hochreiter & Schmidhuber 1997, 10.1162/neco.1997.9.8.1735); as
    `lstm_bidir` on ECGs Strodthoff et al. 2021, 10.1109/JBHI.2020.3022989. We differ: patches of 8
    samples (80 ms at 100 Hz) instead of single samples, mean and maximum over time, no dense layer
    before the last, and as many units as give about as many weights as the other networks have.
    """

    cell: Literal["rnn", "gru", "lstm"]
    hidden: int  # per direction
    patch: int = 8  # samples
    width: int = 64
    layers: int = 2
    dropout: float = 0.1

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> Network:
        """Network with fresh weights; the length of the signal does not change its size."""
        return Network(
            stem=LeadStem(leads, self.width, kernel=self.patch, stride=self.patch, padding=0),
            body=self._body(),
            width=2 * self.hidden,
            features=features,
            classes=classes,
            dropout=self.dropout,
        )

    def _body(self) -> nn.Module:
        if self.cell == "lstm":
            return BiLSTM(self.width, self.hidden, layers=self.layers)
        return BothDirections(PLAIN_CELLS[self.cell], self.width, self.hidden, layers=self.layers)


class BothDirections(nn.Module):
    """Reads a sequence forwards and backwards with cells that have no memory beside their state."""

    def __init__(
        self, cells: type[nn.RNN] | type[nn.GRU], channels: int, hidden: int, *, layers: int
    ) -> None:
        super().__init__()
        self.cells = cells(
            channels, hidden, num_layers=layers, batch_first=True, bidirectional=True
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, 2 * hidden, time)."""
        return run_recurrent(self.cells, sequence.transpose(1, 2)).transpose(1, 2)
