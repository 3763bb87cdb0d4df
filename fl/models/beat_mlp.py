"""Heartbeats by their features alone: two dense layers, no waveform."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from fl.models.blocks import dense_layers
from fl.models.early_decision import EarlyDecision
from fl.models.network_input import NetworkInput
from fl.models.precision import full_precision


@dataclass(frozen=True, kw_only=True)
class BeatMLP:
    """Reads how a beat differs from the patient's others, as numbers (fl/ecg/beat_features.py).

    Such numbers carry over to other patients and recorders; wave shapes do so less. A step of
    training costs about a tenth of one with the waveform.
    """

    hidden: int = 48
    dropout: float = 0.2
    early_features: tuple[int, ...] = ()  # columns of the features: see `EarlyDecision`
    irregular: int | None = None  # column of the feature by which fibrillation is seen
    needs_features: ClassVar = True

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> nn.Module:
        """Network with fresh weights."""
        return FeatureNetwork(features, classes, self)


class FeatureNetwork(nn.Module):
    """Two dense layers over the features, and the early features' share in S against N."""

    input = NetworkInput(signal=False)
    classifier: ClassVar = ("head", "early")  # see `network_parts`

    def __init__(self, features: int, classes: int, options: BeatMLP) -> None:
        super().__init__()
        self.mlp = dense_layers(features, options.hidden, options.dropout)
        self.head = nn.Linear(options.hidden, classes)
        self.early = EarlyDecision(options.early_features, options.irregular)

    def forward(self, signal: Tensor, lead_mask: Tensor, features: Tensor) -> Tensor:
        """Logits (batch, class) from features (batch, feature); signals are not read."""
        hidden = self.mlp(features)
        with full_precision(hidden):
            logits: Tensor = self.early(self.head(hidden.float()), features)
        return logits
