"""Plain LSTM: reads the recording from both ends, without convolutions or attention."""

from dataclasses import dataclass

from fl.models.blocks import BiLSTM, LeadStem, Network


@dataclass(frozen=True, kw_only=True)
class LSTM:
    """Reads the recording 80 ms at a time, from both ends, and remembers what came before.

    Source: Hochreiter & Schmidhuber 1997, 10.1162/neco.1997.9.8.1735; as `lstm_bidir` on ECGs
    Strodthoff et al. 2021, 10.1109/JBHI.2020.3022989. We differ: patches of 8 samples (80 ms at
    100 Hz) instead of single samples, 56 units instead of 256, no dense layer before the last.
    """

    patch: int = 8  # samples
    width: int = 64
    hidden: int = 56  # per direction
    layers: int = 2
    dropout: float = 0.1

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> Network:
        """Network with fresh weights; the length of the signal does not change its size."""
        return Network(
            stem=LeadStem(leads, self.width, kernel=self.patch, stride=self.patch, padding=0),
            body=BiLSTM(self.width, self.hidden, layers=self.layers),
            width=2 * self.hidden,
            features=features,
            classes=classes,
            dropout=self.dropout,
        )
