"""Draws a heartbeat as a grey picture, as the first layer of a network."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 128  # pixels: columns of time, rows of amplitude
STEPS = 4  # samples from one edge of a column to the next
SAMPLES = STEPS * SIDE + 1  # of a signal that needs no resampling: one on every edge of a column
THICKNESS = 1.0  # pixels


class BeatPicture(nn.Module):
    """A line through the samples, one pixel thick and anti-aliased, white on black.

    The samples are spread over the width, from the left edge to the right. A value of 1 is at the
    top edge and -1 at the bottom; what lies outside is cut off. Each column shows the line from its
    lowest to its highest value between the column's two edges, which it shares with its
    neighbours, so that the line has no gap and loses no spike. Coverage is differentiable in the
    signal almost everywhere. Nothing is learnt here.

    Source: Jun et al. 2018, arXiv:1804.06812, who draw each beat as a picture of 128 x 128 by a
    plotting library. Drawing in the network costs less than reading a stored picture, and a
    picture never has to be stored.
    """

    def forward(self, signal: Tensor, lead_mask: Tensor) -> Tensor:
        """(batch, lead, sample), (batch, lead) -> (batch, lead, row, column), from 0 to 1.

        The picture of a lead that was not recorded is empty, whatever its values are, even NaN.
        """
        present = (lead_mask > 0)[:, :, None]
        line = torch.where(present, signal, 0.0).float()
        if line.shape[2] != SAMPLES:
            line = F.interpolate(line, SAMPLES, mode="linear", align_corners=True)
        row = (1 - line) * (SIDE / 2)  # from 0 at the top edge to SIDE at the bottom edge
        lowest = F.max_pool1d(row, STEPS + 1, STEPS) + THICKNESS / 2
        highest = -F.max_pool1d(-row, STEPS + 1, STEPS) - THICKNESS / 2
        edges = torch.arange(SIDE, device=signal.device, dtype=line.dtype)[:, None]
        above = (highest[:, :, None] - edges).clamp(0, 1)  # share of a pixel above the line
        reached = (lowest[:, :, None] - edges).clamp(0, 1)  # the same, with the line itself
        return (reached - above) * present[:, :, None]
