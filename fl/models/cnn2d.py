"""2-D CNN in VGG's manner: sees a heartbeat as a picture, as a person sees it on paper."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fl.models.beat_picture import SIDE, BeatPicture
from fl.models.network_parts import NetworkParts, parts_of_modules
from fl.models.precision import full_precision

AT_ONCE = 16  # pictures that a CPU answers together: of more, layers do not fit its cache


@dataclass(frozen=True, kw_only=True)
class CNN2D:
    """Draws the beat, and finds lines and corners in the picture, then larger shapes of them.

    Source: Jun et al. 2018, arXiv:1804.06812: eleven layers (twice two convolutions and a pooling,
    a third time, then two dense layers), filters of 3 x 3, ELU, Xavier's initial weights, half of
    the dense units dropped in training. We differ: an eighth of the widths by default, because
    theirs cost about 15 GFLOP per training picture; seven classes, without flutter waves, which
    are no beats; `norm` after each activation is GroupNorm, because statistics over the batches of
    one hospital do not fit another. `norm="batch"` is the paper's, for centralised training alone:
    a federation would have to average running statistics that no gradient has made.
    """

    needs_pictures: ClassVar = True  # of use for tasks whose examples are whole beats alone

    widths: tuple[int, int, int] = (8, 16, 32)  # 64, 128 and 256 in the paper
    dense: int = 128  # 2,048 in the paper
    dropout: float = 0.5
    norm: str = "group"  # or "batch"

    @property
    def centralised_only(self) -> bool:
        """Whether a federation cannot train it."""
        return self.norm == "batch"

    def build(self, *, leads: int, samples: int, features: int, classes: int) -> "PictureNetwork":
        """Network with fresh weights; a picture has the same size whatever `samples` is."""
        convs: list[nn.Module] = []
        channels = leads
        for width in self.widths:
            for _ in range(2):
                conv = nn.Conv2d if convs else FirstConv
                convs += [conv(channels, width, 3, padding=1), nn.ELU(), self._norm(width)]
                channels = width
            convs.append(nn.MaxPool2d(2))
        side = SIDE // 2 ** len(self.widths)
        dense = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * side**2, self.dense), nn.ELU(), self._norm_dense()
        )
        network = PictureNetwork(
            convs=nn.Sequential(*convs),
            dense=dense,
            dropout=self.dropout,
            head=nn.Linear(self.dense, classes),
        )
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None  # for the type checker
                nn.init.zeros_(module.bias)
        return network

    def _norm(self, width: int) -> nn.Module:
        if self.norm == "batch":
            return nn.BatchNorm2d(width)
        return nn.GroupNorm(max(1, width // 8), width)

    def _norm_dense(self) -> nn.Module:
        if self.norm == "batch":
            return nn.BatchNorm1d(self.dense)
        return nn.LayerNorm(self.dense)


class FirstConv(nn.Conv2d):
    """The convolution that reads the pictures of the leads."""

    lead_columns: ClassVar = ("weight",)


class PictureNetwork(nn.Module):
    """Draws a signal, reads the picture and gives one score per class."""

    explained_by: ClassVar = "occlusion"  # see `fl.explain.saliency.usual_method`

    classifier: ClassVar = ("dense", "head")  # see `network_parts`

    def __init__(
        self, *, convs: nn.Sequential, dense: nn.Sequential, dropout: float, head: nn.Linear
    ) -> None:
        super().__init__()
        self.picture = BeatPicture()
        self.convs, self.dense = convs, dense
        self.dropout = nn.Dropout(dropout)
        self.head = head

    @property
    def parts(self) -> NetworkParts:
        """Which of the network's weights belong to a class or to a lead."""
        return parts_of_modules(self)

    def forward(self, signal: Tensor, lead_mask: Tensor, features: Tensor) -> Tensor:
        """Logits (batch, class) of signals (batch, lead, sample) from -1 to 1.

        `lead_mask` (batch, lead) is 1 where recorded; `features` are not read.
        """
        if self.training or signal.is_cuda or len(signal) <= AT_ONCE:
            return self._logits(signal, lead_mask)
        parts = zip(torch.split(signal, AT_ONCE), torch.split(lead_mask, AT_ONCE), strict=True)
        return torch.cat([self._logits(*part) for part in parts])

    def _logits(self, signal: Tensor, lead_mask: Tensor) -> Tensor:
        picture = self.picture(signal, lead_mask)
        # With the channels of a pixel side by side in memory a CPU takes half the time.
        shapes = self.convs(picture.contiguous(memory_format=torch.channels_last))
        with full_precision(shapes):
            logits: Tensor = self.head(self.dropout(self.dense(shapes.float())))
        return logits
