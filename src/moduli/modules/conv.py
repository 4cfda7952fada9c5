"""Convolutional building blocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Module):
    """A 2-D convolution with ReLU that keeps resolution and channels: `[B, C, H, W] -> [B, C, H, W]`.

    Pooling is not part of the module: routes pool between levels (see `moduli.sharing.Route`), so that
    one module can be applied at every resolution.

    Args:
        filters: channels C in and out.
        kernel: odd kernel size.
    """

    def __init__(self, filters: int, kernel: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(filters, filters, kernel, padding=kernel // 2)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu_()


class PadChannels(nn.Module):
    """An encoder without parameters: appends channels of zeros, `[B, c, H, W] -> [B, channels, H, W]`.

    How images enter a pool of alike convolutions (Meyerson & Miikkulainen 2018, A.3).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, self.channels - x.shape[1]))
